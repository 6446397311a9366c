//! The end of an attempt whose task is said to have had another end meanwhile.
//!
//! The record is read before the delivery is acknowledged. Where it shows no end, the word was wrong: then the attempt counts
//! as it ended, and one that was stopped for nothing is handed back, its attempt not spent.

use opentelemetry::Context as TraceContext;
use workfleet_link::read::ReadError;
use workfleet_link::time::now_ms;
use workfleet_proto::settlement::{Deadline, Ended, Lease as LeaseState, Verdict, judge, plan};
use workfleet_proto::v1;

use super::Carried;
use crate::handling::Ran;
use crate::look;
use crate::metrics::Ended as MetricsEnded;
use crate::settle::Papers;
use crate::span::{self, Conclusion};
use crate::station::duration_ms;

/// An end that was recorded elsewhere.
pub(super) struct Elsewhere {
    record: v1::Result,
    verdict: Verdict,
}

impl Carried<'_> {
    /// How the task has ended, if anything was said of that, and it is so.
    pub(super) async fn ended_elsewhere(&self, ran: &Ran) -> Result<Option<Elsewhere>, ReadError> {
        if !self.hold.heed() && !matches!(ran, Ran::Halted(_)) {
            return Ok(None);
        }
        let worthwhile = || self.lease.state() == LeaseState::Held;
        let found = look::look_at_record(&self.station.broker, self.held, worthwhile).await?;
        // The deadline is the handler's matter by now.
        let verdict = judge(&self.held.delivered, self.held.attempts_max(), Deadline::Open, &found.seen);
        Ok(match (verdict, found.result) {
            (Verdict::Drop | Verdict::FinishDeadLetter, Some(record)) => Some(Elsewhere { record, verdict }),
            _ => {
                tracing::warn!(workfleet.task.id = %self.held.id, "it was said to have ended, and has not");
                None
            }
        })
    }

    /// Acknowledges the delivery: there is nothing to store.
    pub(super) async fn settle_elsewhere(&self, Elsewhere { record, verdict }: Elsewhere, trace: &TraceContext) {
        let (station, held) = (self.station, self.held);
        let lease = self.lease.state();
        let plan = match verdict {
            // A worker died before the dead letter was surely stored.
            Verdict::FinishDeadLetter => verdict.plan(lease),
            _ => None,
        };
        let plan = plan.unwrap_or_else(|| self::plan(held.attempt(), held.attempts_max(), lease, Ended::Halted));
        let state = record.state();
        let papers = Papers::Result(Box::new(record));
        let settled = station.settler.settle(held, self.lease, plan, papers, trace).await;
        let ended = MetricsEnded::halted(state, plan, settled);
        station.metrics.settled(ended.word());
        if ended.is_last() {
            let took_ms = now_ms().saturating_sub(held.envelope.submitted_at_ms);
            station.metrics.ended(duration_ms(took_ms));
        }
        {
            // So that the line carries the trace's id.
            let _trace = trace.clone().attach();
            let attempt = held.attempt();
            tracing::info!(workfleet.task.id = %held.id, attempt, outcome = ended.word(), "an attempt was halted");
        }
        let last = ended.is_last();
        span::conclude(trace, Conclusion { outcome: ended.word(), last, failure: None, next_attempt_at_ms: None });
    }
}
