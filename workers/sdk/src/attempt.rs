//! The way of one delivery: look, judge, run, settle; its lease kept from the first line to the last.
//!
//! A task that must run alone and finds another one that does, or waits to, is handed back, and no count ends that: to wait
//! beside the other is what it must not do, and where else it could wait there is nothing but the queue. It is bounded by
//! what the others have. While one holds the place, the process asks for nothing, so what comes is what it had asked for
//! before, a slot's worth at most; and whoever holds the place starts an attempt, of which it has `attempts_max`, or gives
//! it up after a minute, three times at most for each (`docs/decisions/0014`).

mod halted;
mod run;
mod schema;

use std::sync::Arc;
use std::time::Duration;

use workfleet_link::read::ReadError;
use workfleet_link::time::now_ms;
use workfleet_proto::limits::{FAILURE_MESSAGE_BYTES_MAX, cut};
use workfleet_proto::settlement::{Company, Deadline, Ended, Lease as LeaseState, Plan, judge, plan};
use workfleet_proto::v1::{self, Failure};

use crate::events::Events;
use crate::halts::Hold;
use crate::lease::Lease;
use crate::look::{self, Found};
use crate::metrics::Ended as MetricsEnded;
use crate::records;
use crate::settle::Papers;
use crate::slots::Slot;
use crate::station::{Station, code, duration_ms};
use crate::task::{self, Headers, Held, Pulled, Unreadable};

/// How long a task that must run alone waits for the others in its process, at first. Meanwhile nothing new is taken.
const ALONE_WAIT_MAX: Duration = Duration::from_secs(60);
/// Hand-backs of an attempt after which it waits for as long as the others may take.
const ALONE_BACKS_MAX: u32 = 3;
/// Shortest and longest time that a task stays away that could not run alone here, so that another worker takes it, or this
/// one after the task that does. At random, for several of them come from one crash, at one time.
const ALONE_DELAY_MIN: Duration = Duration::from_millis(200);
const ALONE_DELAY_MAX: Duration = Duration::from_secs(3);

/// A delivery in this process.
struct Carried<'a> {
    station: &'a Arc<Station>,
    held: &'a Held,
    lease: &'a Lease,
    events: &'a Events,
    hold: &'a Hold,
}

/// What came of a start.
enum Started {
    /// The delivery is at its end.
    Ended,
    /// It has to be judged once more, with its slot, or without one where it gave that up to wait for all of them.
    Again(Option<Slot>),
}

/// Carries a delivery to its end.
pub(crate) async fn carry(station: Arc<Station>, pulled: Pulled, slot: Slot) {
    match task::open(&station.queue, pulled) {
        Ok(held) => with_lease(&station, &held, async |carried| carried.judge(Some(slot)).await).await,
        Err(unreadable) => refuse(&station, unreadable).await,
    }
}

/// Hands a delivery back for which there is no slot. It is judged all the same: a redelivery may have its retry stored
/// already, and handed back it would run beside that.
pub(crate) async fn give_back(station: Arc<Station>, pulled: Pulled) {
    match task::open(&station.queue, pulled) {
        Ok(held) => with_lease(&station, &held, async |carried| carried.judge(None).await).await,
        Err(unreadable) => refuse(&station, unreadable).await,
    }
}

/// Fails what is meant to be a task and is none.
async fn refuse(station: &Arc<Station>, unreadable: Unreadable) {
    match unreadable {
        Unreadable::Task { held, reason, headers } => {
            tracing::error!(workfleet.task.id = %held.id, reason, "a message that is no task fails");
            with_lease(station, &held, async |carried| match headers {
                Headers::Read => carried.fail(code::UNDECODABLE, &reason).await,
                Headers::Unread => carried.fail_as_recorded(code::UNDECODABLE, &reason).await,
            })
            .await;
        }
        Unreadable::Nameless { ack, subject, reason } => {
            tracing::error!(subject, reason, "a message that is no task, and belongs to none, is removed");
            station.settler.terminate(&ack, &reason).await;
        }
    }
}

async fn with_lease(station: &Arc<Station>, held: &Held, way: impl AsyncFnOnce(Carried<'_>)) {
    let client = station.broker.client.clone();
    let lease = Lease::new(client, held.ack.clone(), station.lease(), held.received_at);
    let events = Events::new(station, held);
    let hold = station.halts.hold(held);
    tokio::select! {
        () = way(Carried { station, held, lease: &lease, events: &events, hold: &hold }) => {}
        never = lease.keep(&events) => match never {},
    }
}

impl Carried<'_> {
    /// Without a slot, a delivery that could start is handed back.
    async fn judge(self, mut slot: Option<Slot>) {
        loop {
            let halted = self.hold.heed();
            let cut = &self.station.drain.cut;
            let worthwhile = || self.lease.state() == LeaseState::Held && !cut.is_cancelled();
            let Found { seen, result } = match look::look(&self.station.broker, self.held, halted, worthwhile).await {
                Ok(found) => found,
                Err(error) => return self.give_up(&error).await,
            };
            let verdict = judge(&self.held.delivered, self.held.attempts_max(), self.held.deadline(now_ms()), &seen);
            let Some(plan) = verdict.plan(self.lease.state()) else {
                let Some(own) = slot.take() else { return self.hand_back(Duration::ZERO).await };
                slot = match self.start(own).await {
                    Started::Again(returned) => returned,
                    Started::Ended => return,
                };
                continue;
            };
            return self.settle_without_handler(plan, self.papers(plan, result)).await;
        }
    }

    /// What cannot be looked at is given back.
    async fn give_up(&self, error: &ReadError) {
        tracing::warn!(workfleet.task.id = %self.held.id, %error, "cannot look; the task comes again");
        let settled = self.station.settler.release(self.held, self.lease).await;
        self.station.metrics.settled(MetricsEnded::of(Plan::Leave, settled).word());
    }

    /// What is stored where no handler runs.
    fn papers(&self, plan: Plan, result: Option<v1::Result>) -> Papers {
        match plan {
            Plan::FinishDeadLetter => result.map_or(Papers::None, |result| Papers::Result(Box::new(result))),
            Plan::Fail => {
                // Which of the two, nobody can know: what cannot be stored is given back, and counts as a delivery.
                let message = format!(
                    "the last of {} attempts left no outcome: its worker was lost, or could not store it",
                    self.held.attempts_max()
                );
                Papers::Result(Box::new(self.failed(code::WORKER_LOST, &message)))
            }
            Plan::Expire => Papers::Result(Box::new(self.records().expired())),
            // Only to know what its end leaves behind.
            Plan::Drop => result.map_or(Papers::None, |result| Papers::Result(Box::new(result))),
            Plan::Complete | Plan::Retry | Plan::HandBack | Plan::Leave => Papers::None,
        }
    }

    /// Starts the handler, unless the delivery has to be judged once more: something was said of its task, or its deadline has
    /// passed, while it waited.
    async fn start(&self, slot: Slot) -> Started {
        let draining = &self.station.drain.draining;
        let slot = match self.held.company() {
            Company::Shared => slot,
            // Rule 9: it was there when two processes died.
            Company::Alone => tokio::select! {
                all = self.alone(slot) => match all {
                    Some(all) => all,
                    None => {
                        tracing::warn!(workfleet.task.id = %self.held.id, "cannot run alone here; handed back");
                        self.hand_back(rand::random_range(ALONE_DELAY_MIN..ALONE_DELAY_MAX)).await;
                        return Started::Ended;
                    }
                },
                () = draining.cancelled() => {
                    self.hand_back(Duration::ZERO).await;
                    return Started::Ended;
                }
                // The others need not make room for it any more.
                () = self.overtaken() => return Started::Again(None),
            },
        };
        if draining.is_cancelled() {
            self.hand_back(Duration::ZERO).await;
            return Started::Ended;
        }
        // Rule 6: what is older than its lease may be another's by now.
        if self.lease.state() == LeaseState::Lapsed {
            tracing::warn!(workfleet.task.id = %self.held.id, "not started: older than its lease");
            self.station.metrics.settled(MetricsEnded::Left.word());
            return Started::Ended;
        }
        if self.hold.is_told() || self.held.deadline(now_ms()) == Deadline::Passed {
            return Started::Again(Some(slot));
        }
        self.attempt(Arc::new(slot)).await;
        Started::Ended
    }

    /// Waits until nothing else is in this process: no handler that runs, and no delivery that waits or is on its way. A
    /// poison takes whatever is there along, and for a neighbour that was taken along twice the third time may be its last
    /// attempt. `None`: not here, or not now.
    async fn alone(&self, slot: Slot) -> Option<Slot> {
        let all = self.station.slots.take_all(slot, self.alone_wait()).await?;
        let quiet = async {
            self.hold.alone().await;
            // What was asked for before the slots were taken may still come.
            self.station.slots.recall().await;
            self.hold.alone().await;
        };
        tokio::time::timeout(ALONE_WAIT_MAX, quiet).await.ok().map(|()| all)
    }

    /// How long it waits for the handlers beside it. At first not long, for another worker may be idle. But with a backlog
    /// the slots that it frees are full again before it is back, in every worker and every time. So one that was handed back
    /// often keeps its place until all who are there must have ended: each within the queue's timeout, or its slot is stuck.
    fn alone_wait(&self) -> Duration {
        if self.held.copy.generation.back < ALONE_BACKS_MAX {
            return ALONE_WAIT_MAX;
        }
        let timeout = duration_ms(self.station.settings.timeout_ms);
        // They bring their payloads before it, and settle after it.
        timeout.saturating_add(self.station.cancel_grace()).saturating_add(ALONE_WAIT_MAX)
    }

    /// Waits until there is nothing to wait for any more: something was said of the task, its deadline has passed, or it is
    /// another's by now.
    async fn overtaken(&self) {
        let deadline = async {
            match self.held.envelope.deadline_ms {
                Some(deadline_ms) => tokio::time::sleep(duration_ms(deadline_ms.saturating_sub(now_ms()))).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.hold.told() => {}
            () = deadline => {}
            () = self.lease.lapsed() => {}
        }
    }

    /// Fails the task without a handler.
    async fn fail(&self, code: &str, message: &str) {
        let papers = Papers::Result(Box::new(self.failed(code, message)));
        let plan = plan(self.held.attempt(), self.held.attempts_max(), self.lease.state(), Ended::Permanent);
        self.settle_without_handler(plan, papers).await;
    }

    /// The same for a copy that does not say which run it is of. Failed as the first, that of a redriven task would lose to
    /// its mark and be acknowledged: the task would have neither an end nor a dead letter.
    async fn fail_as_recorded(&self, code: &str, message: &str) {
        let adopted = match look::record(&self.station.broker, &self.held.id).await {
            Ok(Some((record, _))) if record.state().is_end() => self.held.adopting(record.run.max(1), 0),
            Ok(Some((mark, sequence))) => self.held.adopting(mark.run, sequence),
            Ok(None) => self.held.clone(),
            Err(error) => return self.give_up(&error).await,
        };
        let Carried { station, lease, events, hold, .. } = *self;
        Carried { station, held: &adopted, lease, events, hold }.fail(code, message).await;
    }

    /// The record of a failure for which no handler was started.
    fn failed(&self, code: &str, message: &str) -> v1::Result {
        self.station.metrics.failed(code, true);
        let message = cut(message, FAILURE_MESSAGE_BYTES_MAX).to_owned();
        self.records().failed(Failure { code: code.to_owned(), message })
    }

    /// Gives the task to whoever has a slot, now or after a while; no attempt is spent.
    async fn hand_back(&self, delay: Duration) {
        let copy = self.records().hand_back(&self.station.broker.names, delay);
        let plan = plan(self.held.attempt(), self.held.attempts_max(), self.lease.state(), Ended::HandedBack);
        self.settle_without_handler(plan, Papers::Copy(copy)).await;
    }

    fn records(&self) -> records::Ran<'_> {
        let (held, worker) = (self.held, &self.station.worker);
        records::Ran { held, worker, started_at_ms: None, ended_at_ms: now_ms(), children: held.children() }
    }

    async fn settle_without_handler(&self, plan: Plan, papers: Papers) {
        let trace = workfleet_link::telemetry::trace::extract(&self.held.headers);
        let settled = self.station.settler.settle(self.held, self.lease, plan, papers, &trace).await;
        self.station.metrics.settled(MetricsEnded::of(plan, settled).word());
    }
}
