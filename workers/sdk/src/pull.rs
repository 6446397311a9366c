//! Asks the broker for tasks: exactly as many as there are free slots.
//!
//! Own pull requests instead of the client's streams: those fetch up to one and a half batches ahead, and a worker with
//! one slot would keep a task waiting behind a long one while other workers idle. One request per lane is out at a time;
//! slots that come free meanwhile go into the next one, so a busy worker asks for many at once by itself.
//!
//! A request that is neither answered nor kept alive by heartbeats nor ended in time is made anew and counted: a worker
//! that is connected and no longer consumes is the classic silent failure. `lanes` decides what to ask for, and has no
//! I/O; this file carries it out.

mod lanes;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::{Message, StatusCode, Subscriber};
use futures::StreamExt as _;
use serde_json::json;
use tokio::task::JoinHandle;
use workfleet_proto::names::Lane;
use workfleet_proto::settings;

use crate::attempt;
use crate::health::Health;
use crate::station::Station;
use crate::task::{AckAddress, Pulled};
use crate::worker::RunError;
use lanes::{Answer, Ask, HEARTBEAT, Lanes, Wait};

/// How long the last messages may take after the subscription has ended.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(3);
/// How long the first connect may take to be told.
const CONNECTED_TIME_MAX: Duration = Duration::from_secs(1);

/// Starts the loop.
pub(crate) async fn serve(station: &Arc<Station>, health: &Arc<Health>) -> Result<JoinHandle<()>, RunError> {
    let names = settings::lanes(&station.settings);
    let inbox = Inbox::open(station).await?;
    let lanes = Lanes::new(names.len());
    let puller = Puller { station: Arc::clone(station), health: Arc::clone(health), names, lanes, inbox };
    Ok(tokio::spawn(puller.run()))
}

/// Where answers to pull requests arrive: `<prefix>.<lane's place>.<request's serial number>`.
struct Inbox {
    prefix: String,
    messages: Subscriber,
}

impl Inbox {
    async fn open(station: &Station) -> Result<Self, RunError> {
        let prefix = station.broker.client.new_inbox();
        let subject = format!("{prefix}.*.*");
        let messages = station.broker.client.subscribe(subject.clone()).await;
        let messages = messages.map_err(|error| RunError::Subscribe { subject, reason: error.to_string() })?;
        Ok(Self { prefix, messages })
    }

    /// The request that a message without content answers.
    fn request(&self, subject: &str) -> Option<(usize, u64)> {
        let (lane, serial) = subject.strip_prefix(&self.prefix)?.strip_prefix('.')?.split_once('.')?;
        Some((lane.parse().ok()?, serial.parse().ok()?))
    }
}

struct Puller {
    station: Arc<Station>,
    health: Arc<Health>,
    /// Most urgent first; `lanes` speaks of them by their place in here.
    names: Vec<Lane>,
    lanes: Lanes,
    inbox: Inbox,
}

impl Puller {
    async fn run(mut self) {
        let draining = self.station.drain.draining.clone();
        let mut reconnects = self.station.broker.reconnects();
        // The first connect is no reconnect, and it may be told late.
        let _ = tokio::time::timeout(CONNECTED_TIME_MAX, reconnects.wait_for(|count| *count > 0)).await;
        reconnects.mark_unchanged();
        loop {
            self.ask().await;
            let wake = self.lanes.wake(Instant::now());
            tokio::select! {
                () = draining.cancelled() => break,
                message = self.inbox.messages.next() => match message {
                    Some(message) => self.take(message),
                    None => break tracing::warn!("the subscription for tasks has ended"),
                },
                () = self.station.slots.freed() => {}
                () = self.station.slots.recalled() => self.call_in().await,
                Ok(()) = reconnects.changed() => self.reconnected().await,
                () = tokio::time::sleep_until(wake.into()) => self.watch().await,
            }
        }
        leave(&self.station, &self.names, self.inbox.messages).await;
    }

    /// Sends the requests that are due.
    async fn ask(&mut self) {
        let (connected, free) = (self.station.broker.is_connected(), self.station.slots.free());
        if connected && self.station.slots.none_works() {
            self.health.idle();
        } else if !connected || free == 0 {
            // Nothing can be asked for, so nothing can be missed.
            self.health.consuming();
        }
        // The loop looks again within a second, when what is read counts as new.
        if !connected || self.station.pulse.is_suspect() {
            return;
        }
        for ask in self.lanes.asks(free, Instant::now()) {
            self.send(ask).await;
        }
    }

    async fn send(&self, Ask { lane, serial, batch, wait }: Ask) {
        let names = &self.station.broker.names;
        let stream = names.tasks_stream(&self.station.queue);
        let consumer = names.work_consumer(self.names[lane]);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let request = match wait {
            Wait::Long(time) => {
                json!({ "batch": batch, "expires": nanos(time), "idle_heartbeat": nanos(HEARTBEAT) })
            }
            Wait::Bell(time) => json!({ "batch": batch, "expires": nanos(time) }),
            Wait::No => json!({ "batch": batch, "no_wait": true }),
        };
        let reply = format!("{}.{lane}.{serial}", self.inbox.prefix);
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let sent = self.station.broker.client.publish_with_reply(subject, reply, request.to_string().into()).await;
        if let Err(error) = sent {
            // The connection is closed; the silence of this request will be noticed.
            tracing::warn!(%error, "cannot ask for tasks");
        }
    }

    fn take(&mut self, message: Message) {
        match message.status {
            None => self.deliver(message),
            Some(status) => self.answer(status, &message),
        }
    }

    fn deliver(&mut self, message: Message) {
        let Some(pulled) = pulled(&self.station, &self.names, message) else { return };
        if let Some(place) = self.names.iter().position(|lane| *lane == pulled.lane) {
            self.lanes.delivered(place);
        }
        self.health.consuming();
        match self.station.slots.try_take() {
            Some(slot) => self.station.spawn(attempt::carry(Arc::clone(&self.station), pulled, slot)),
            // A call was faster.
            None => self.station.spawn(attempt::give_back(Arc::clone(&self.station), pulled)),
        }
    }

    fn answer(&mut self, status: StatusCode, message: &Message) {
        let Some((lane, serial)) = self.inbox.request(&message.subject) else { return };
        let description = message.description.as_deref().unwrap_or_default();
        let answer = match status {
            StatusCode::IDLE_HEARTBEAT => Answer::Alive,
            StatusCode::NOT_FOUND | StatusCode::TIMEOUT => Answer::Empty,
            StatusCode::REQUEST_TERMINATED if description.starts_with("Batch Completed") => Answer::Empty,
            _ => Answer::Refused,
        };
        if answer == Answer::Refused {
            self.refused(lane, status, description);
        } else {
            self.health.consuming();
        }
        self.lanes.answered(lane, serial, answer, Instant::now());
    }

    fn refused(&self, lane: usize, status: StatusCode, description: &str) {
        let lane = self.names.get(lane).copied().unwrap_or(Lane::DEFAULT);
        let queue = &self.station.queue;
        if status == StatusCode::NO_RESPONDERS {
            tracing::warn!(%queue, %lane, "nobody serves the queue; is JetStream up, and has `workfleet provision` run?");
            self.health.waiting(format!("the consumer of lane {lane} is not there"));
        } else {
            tracing::warn!(%queue, %lane, %status, description, "the broker ended a pull");
            self.health.waiting(format!("the broker ended the pull of lane {lane}: {description}"));
        }
    }

    /// A new connection: nothing that was asked on the old one counts.
    async fn reconnected(&mut self) {
        self.lanes.forget();
        self.renew_inbox().await;
    }

    /// A task is about to run alone: what was asked for goes to nobody any more, and what has come is handed back.
    async fn call_in(&mut self) {
        self.lanes.abandon();
        let left = self.renew_inbox().await;
        let station = Arc::clone(&self.station);
        self.station.spawn(async move {
            if let Some(left) = left {
                // However it ended, nothing more comes that way.
                let _ = left.await;
            }
            station.slots.called_in();
        });
    }

    /// Notices requests that went silent.
    async fn watch(&mut self) {
        let silent = self.lanes.silent(Instant::now());
        if silent.is_empty() || !self.station.broker.is_connected() {
            return;
        }
        for lane in silent {
            tracing::warn!(queue = %self.station.queue, lane = %self.names[lane], "a pull went silent; asking anew");
            self.station.metrics.rebuilt();
        }
        self.lanes.abandon();
        self.renew_inbox().await;
    }

    /// What was asked before may still be served, so its answers go elsewhere: a worker must not get twice what it has
    /// slots for.
    async fn renew_inbox(&mut self) -> Option<JoinHandle<()>> {
        match Inbox::open(&self.station).await {
            Ok(inbox) => {
                let old = std::mem::replace(&mut self.inbox, inbox);
                let (station, names) = (Arc::clone(&self.station), self.names.clone());
                Some(self.station.underway.spawn(async move { leave(&station, &names, old.messages).await }))
            }
            // The connection is closed for good; the loop is told so by its subscription.
            Err(error) => {
                tracing::warn!(%error, "cannot renew the inbox");
                None
            }
        }
    }
}

/// Ends a subscription and hands back what was on its way.
async fn leave(station: &Arc<Station>, names: &[Lane], mut messages: Subscriber) {
    let rest = async {
        // Without a connection nothing is on its way.
        if !station.broker.is_connected() || messages.drain().await.is_err() {
            return;
        }
        while let Some(message) = messages.next().await {
            if message.status.is_none()
                && let Some(pulled) = pulled(station, names, message)
            {
                station.spawn(attempt::give_back(Arc::clone(station), pulled));
            }
        }
    };
    if tokio::time::timeout(LEAVE_TIME_MAX, rest).await.is_err() {
        tracing::debug!("the subscription for tasks did not end in time");
    }
}

fn pulled(station: &Station, names: &[Lane], message: Message) -> Option<Pulled> {
    let address = message.reply.as_deref().and_then(AckAddress::read);
    let lane = |address: &AckAddress| {
        names.iter().copied().find(|lane| station.broker.names.work_consumer(*lane) == address.consumer)
    };
    let Some((address, lane)) = address.and_then(|address| lane(&address).map(|lane| (address, lane))) else {
        tracing::error!(subject = %message.subject, reply = ?message.reply, "a message that is no delivery");
        return None;
    };
    station.metrics.consumed();
    Some(Pulled { lane, deliveries: address.deliveries, received_at: station.pulse.received_at(), message })
}
