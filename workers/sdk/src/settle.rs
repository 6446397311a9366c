//! Stores what came of a delivery, then acknowledges. The only place that acknowledges for good.
//!
//! The order and every decision are `workfleet_proto::settlement`'s; this file carries out one step after the other and
//! says what came of it. Result first, dead letter second, acknowledgement last: a crash in between costs a repeated,
//! harmless write. A step whose outcome is unclear is tried again; what cannot be stored at all for now is given back to
//! the broker with a delay, never dropped.
//!
//! Stores go through pipelines, one per stream, so that one place decides how many travel together.

mod papers;

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Subject};
use bytes::Bytes;
use opentelemetry::Context as TraceContext;
use prost::Message as _;
use workfleet_link::broker::Broker;
use workfleet_link::pipeline::{Pipeline, Publish, PublishError, Stored};
use workfleet_link::telemetry::trace;
use workfleet_proto::settlement::{Lease as LeaseState, Plan, Reply, Settlement, Step, dead_letter_id};
use workfleet_proto::v1::{self, State};

use crate::discard::Discarder;
use crate::lease::Lease;
use crate::records::Copy;
use crate::task::Held;
use crate::{look, payload, records, span};

pub(crate) use papers::{Papers, Settled};

/// How often a step is tried whose outcome stays unclear.
const TRIES_MAX: u32 = 6;
/// First wait between two tries; it doubles.
const TRY_DELAY_MIN: Duration = Duration::from_millis(50);
/// How long an outcome is kept while the broker is away. It costs a slot, and a repeated run would cost more.
const AWAY_TIME_MAX: Duration = Duration::from_secs(300);
/// How long a delivery that could not be settled stays away.
const RELEASE_DELAY: Duration = Duration::from_secs(2);

/// The ways to where outcomes are stored.
#[derive(Debug)]
pub(crate) struct Settler {
    broker: Broker,
    results: Pipeline,
    delay: Pipeline,
    dead: Pipeline,
    discarder: Arc<Discarder>,
}

/// One delivery being settled.
struct Settling<'a> {
    settler: &'a Settler,
    held: &'a Held,
    trace: &'a TraceContext,
    papers: Papers,
    /// The record that is there now, for the dead letter.
    recorded: Option<v1::Result>,
    superseded: bool,
}

impl Settler {
    pub(crate) fn start(broker: &Broker, discarder: &Arc<Discarder>) -> Self {
        let pipeline = || Pipeline::start(broker);
        let discarder = Arc::clone(discarder);
        Self { broker: broker.clone(), results: pipeline(), delay: pipeline(), dead: pipeline(), discarder }
    }

    /// Carries out `plan`.
    pub(crate) async fn settle(
        &self,
        held: &Held,
        lease: &Lease,
        plan: Plan,
        papers: Papers,
        trace: &TraceContext,
    ) -> Settled {
        let mut settlement = Settlement::new(plan, &held.delivered);
        let recorded = match &papers {
            Papers::Result(result) => Some((**result).clone()),
            Papers::Copy(_) | Papers::None => None,
        };
        let mut settling = Settling { settler: self, held, trace, papers, recorded, superseded: false };
        let mut tries = 0;
        // Rule 6 holds for each step and each try: meanwhile the task may have gone to somebody else.
        while let Some(step) = settlement.step(lease.state()) {
            if step == Step::Acknowledge {
                self.reply(&held.ack, Bytes::from_static(b"+ACK")).await;
                settling.discard_payload();
                return if settling.superseded { Settled::Superseded } else { Settled::Done };
            }
            let reply = settling.take(step).await;
            if reply == Reply::Unclear {
                tries += 1;
                if tries == TRIES_MAX {
                    tracing::warn!(workfleet.task.id = %held.id, ?step, "cannot be stored now; it comes again");
                    return self.release(held, lease).await;
                }
                self.reconnected().await;
                tokio::time::sleep(TRY_DELAY_MIN * (1 << tries)).await;
            }
            settlement = settlement.after(reply);
        }
        Settled::Left
    }

    /// Waits until there is a connection.
    pub(crate) async fn reconnected(&self) {
        let mut reconnects = self.broker.reconnects();
        let connected = async { while !self.broker.is_connected() && reconnects.changed().await.is_ok() {} };
        if tokio::time::timeout(AWAY_TIME_MAX, connected).await.is_err() {
            tracing::warn!("the broker stays away; an outcome waits to be stored");
        }
    }

    /// Gives a delivery back to the broker for a while. This spends a delivery, so it is the last resort. One whose lease
    /// has lapsed is left: the broker would take the word for that of whoever has the task now, and take it from him.
    pub(crate) async fn release(&self, held: &Held, lease: &Lease) -> Settled {
        if lease.state() == LeaseState::Lapsed {
            return Settled::Left;
        }
        let nanos = RELEASE_DELAY.as_nanos();
        self.reply(&held.ack, format!("-NAK {{\"delay\": {nanos}}}").into()).await;
        Settled::Released
    }

    /// Removes a message that is no task and belongs to none.
    pub(crate) async fn terminate(&self, ack: &Subject, reason: &str) {
        self.reply(ack, format!("+TERM {reason}").into()).await;
    }

    /// A plain publish: if it is lost, the task is delivered again, and a look finds it settled.
    async fn reply(&self, ack: &Subject, word: Bytes) {
        if let Err(error) = self.broker.client.publish(ack.clone(), word).await {
            tracing::warn!(%error, "an acknowledgement is not sent; the task is delivered again");
        }
    }
}

impl Settling<'_> {
    async fn take(&mut self, step: Step) -> Reply {
        match step {
            Step::StoreResult { expected } => self.store_result(expected).await,
            Step::StoreDeadLetter => self.store_dead_letter().await,
            Step::StoreRetry { expected } | Step::StoreHandBack { expected } => self.store_copy(expected).await,
            // The caller's: it is the end.
            Step::Acknowledge => Reply::Stored,
        }
    }

    async fn store_result(&mut self, expected: u64) -> Reply {
        let Papers::Result(result) = &self.papers else { return self.defect("a result") };
        let subject = self.settler.broker.names.result(&self.held.id);
        let payload = result.encode_to_vec().into();
        let expected_sequence = condition(expected);
        let message = Publish { headers: self.headers(), expected_sequence, ..Publish::new(subject, payload) };
        let mut answer = self.settler.results.publish(message.clone()).await;
        if answer == Err(PublishError::TooLarge) && result.state() == State::Failed {
            // It will not fit the next time either.
            let bare = records::bare(result);
            answer = self.settler.results.publish(Publish { payload: bare.encode_to_vec().into(), ..message }).await;
            self.recorded = Some(bare.clone());
            self.papers = Papers::Result(Box::new(bare));
        }
        match self.answered(answer) {
            Reply::Lost(_) => self.read_winner().await,
            reply => reply,
        }
    }

    /// Somebody was first. It may have been an earlier try of our own whose answer was lost.
    async fn read_winner(&mut self) -> Reply {
        match look::result(&self.settler.broker, &self.held.id).await {
            Ok(winner) => {
                self.superseded = match (&winner, &self.papers) {
                    (Some(winner), Papers::Result(own)) => *winner != **own,
                    _ => false,
                };
                self.discard_output(winner.as_ref());
                let recorded = winner.as_ref().map(look::recorded);
                if winner.is_some() {
                    self.recorded = winner;
                }
                Reply::Lost(recorded)
            }
            Err(error) => {
                tracing::debug!(workfleet.task.id = %self.held.id, %error, "the winner cannot be read");
                Reply::Unclear
            }
        }
    }

    /// Nobody will ask for the output of an attempt that was not first.
    fn discard_output(&self, winner: Option<&v1::Result>) {
        let own = match &self.papers {
            Papers::Result(own) if self.superseded => own.blob.as_ref(),
            Papers::Result(_) | Papers::Copy(_) | Papers::None => None,
        };
        let named = winner.and_then(|winner| winner.blob.as_ref());
        if let Some(own) = own.filter(|own| named.is_none_or(|named| named.name != own.name)) {
            self.settler.discarder.discard_named(&self.held.id.queue(), own);
        }
    }

    /// After an end that leaves no dead letter, nobody will ask for the payload.
    fn discard_payload(&self) {
        let ended = self.recorded.as_ref().map(v1::Result::state);
        if ended.is_some_and(|state| state.is_end() && state != State::Failed)
            && let Ok(Some(payload)) = payload::claimed(self.held)
        {
            self.settler.discarder.discard(payload);
        }
    }

    async fn store_dead_letter(&mut self) -> Reply {
        let recorded = match self.recorded.take() {
            Some(recorded) => recorded,
            // The delivery was dropped here by a crash, and only its state was known so far.
            None => match look::result(&self.settler.broker, &self.held.id).await {
                Ok(Some(recorded)) => recorded,
                Ok(None) => return Reply::Stored,
                Err(_) => return Reply::Unclear,
            },
        };
        let span = span::dead_letter(self.held, self.trace);
        let mut headers = HeaderMap::new();
        trace::inject(&span, &mut headers);
        let subject = self.settler.broker.names.dead(&self.held.id);
        let mut letter = records::dead_letter(recorded.clone(), self.held);
        let message_id = Some(dead_letter_id(&self.held.id, recorded.run));
        let message = Publish { headers, message_id, ..Publish::new(subject, Bytes::new()) };
        let stored = loop {
            let message = Publish { payload: letter.encode_to_vec().into(), ..message.clone() };
            let stored = self.settler.dead.publish(message).await;
            letter = match records::smaller(&letter) {
                Some(smaller) if stored == Err(PublishError::TooLarge) => smaller,
                _ => break stored,
            };
        };
        span::end(&span);
        self.recorded = Some(recorded);
        self.answered(stored)
    }

    async fn store_copy(&self, expected: u64) -> Reply {
        let message = match &self.papers {
            Papers::Copy(Copy::Due(copy)) => copy.clone(),
            // A schedule takes the place of the one that is there, and must not do that to a later one.
            Papers::Copy(Copy::Scheduled(copy)) => Publish { expected_sequence: Some(expected), ..copy.clone() },
            Papers::Result(_) | Papers::None => return self.defect("a copy"),
        };
        match self.answered(self.settler.delay.publish(message).await) {
            Reply::Lost(_) => match look::scheduled(&self.settler.broker, &self.held.id).await {
                Ok(there) => Reply::Taken(there),
                Err(_) => Reply::Unclear,
            },
            reply => reply,
        }
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        trace::inject(self.trace, &mut headers);
        headers
    }

    fn answered(&self, answer: Result<Stored, PublishError>) -> Reply {
        match answer {
            Ok(_) => Reply::Stored,
            Err(PublishError::Lost) => Reply::Lost(None),
            Err(error) => {
                tracing::warn!(workfleet.task.id = %self.held.id, %error, "not stored yet");
                Reply::Unclear
            }
        }
    }

    /// The plan and its papers do not fit. The delivery comes again, so nothing is lost but time.
    fn defect(&self, missing: &str) -> Reply {
        debug_assert!(false, "a plan without {missing}");
        tracing::error!(workfleet.task.id = %self.held.id, missing, "a plan without its papers");
        Reply::Unclear
    }
}

/// The compare-and-set. A test build may go without, to show that the tests notice.
fn condition(expected: u64) -> Option<u64> {
    if cfg!(feature = "fault-no-cas") { None } else { Some(expected) }
}
