//! What every station of one worker process shares.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use workfleet_link::broker::Broker;
use workfleet_proto::id::QueueName;
use workfleet_proto::schema::KindSchema;
use workfleet_proto::v1::QueueSettings;

use crate::discard::Discarder;
use crate::halts::Halts;
use crate::handler::HandlerService;
use crate::metrics::Metrics;
use crate::pulse::Pulse;
use crate::settle::Settler;
use crate::slots::Slots;

/// Codes of failures that the runtime itself gives. Those of handlers are their own.
pub(crate) mod code {
    /// The handler panicked.
    pub(crate) const PANIC: &str = "panic";
    /// The attempt took longer than its timeout.
    pub(crate) const TIMEOUT: &str = "timeout";
    /// The bytes are not a task of this kind.
    pub(crate) const UNDECODABLE: &str = "undecodable";
    /// The output is larger than the queue allows, or its record does not fit a message.
    pub(crate) const OUTPUT_TOO_LARGE: &str = "output_too_large";
    /// The claim check of the payload is not this task's.
    pub(crate) const INVALID_CLAIM_CHECK: &str = "invalid_claim_check";
    /// The claim check says that the payload is larger than the queue allows.
    pub(crate) const PAYLOAD_TOO_LARGE: &str = "payload_too_large";
    /// The blob that the payload is in is not there.
    pub(crate) const PAYLOAD_GONE: &str = "payload_gone";
    /// The blob that the payload is in is damaged, or its store cannot be reached.
    pub(crate) const PAYLOAD_UNAVAILABLE: &str = "payload_unavailable";
    /// The output is too large to travel, and its store does not take it.
    pub(crate) const OUTPUT_NOT_STORED: &str = "output_not_stored";
    /// Every attempt was used up, and the last ones left no outcome: their workers died, or could not store it.
    pub(crate) const WORKER_LOST: &str = "worker_lost";
    /// The task's deadline passed.
    pub(crate) const EXPIRED: &str = "expired";
}

/// How far the process is on its way out. Each token is cancelled once, in this order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drain {
    /// Nothing new is taken; what runs goes on.
    pub(crate) draining: CancellationToken,
    /// Running handlers are told to stop, and soon after are stopped.
    pub(crate) cut: CancellationToken,
    /// Every slot is stuck: the process is of no use any more.
    pub(crate) lost: CancellationToken,
}

/// One worker process.
#[derive(Debug)]
pub(crate) struct Station {
    pub(crate) broker: Broker,
    pub(crate) queue: QueueName,
    /// The id of this process, as results and events name it.
    pub(crate) worker: String,
    /// Hash of the schema that the worker was built with.
    pub(crate) schema: String,
    /// That schema.
    pub(crate) contract: KindSchema,
    pub(crate) settings: QueueSettings,
    pub(crate) slots: Slots,
    /// What was said of the tasks in this process.
    pub(crate) halts: Arc<Halts>,
    pub(crate) service: HandlerService,
    /// Where handlers run: never on the io thread.
    pub(crate) handlers: tokio::runtime::Handle,
    pub(crate) settler: Settler,
    pub(crate) discarder: Arc<Discarder>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) pulse: Pulse,
    pub(crate) drain: Drain,
    /// Every delivery and call that is not settled yet.
    pub(crate) underway: TaskTracker,
}

impl Station {
    /// How long a worker may be silent about a task it holds.
    pub(crate) fn lease(&self) -> Duration {
        duration_ms(self.settings.lease_ms)
    }

    /// How long a handler whose task was cancelled, or has expired, may take to clean up.
    pub(crate) fn cancel_grace(&self) -> Duration {
        duration_ms(self.settings.cancel_grace_ms)
    }

    /// Largest payload, and largest output, of a task of this queue.
    pub(crate) fn payload_bytes_max(&self) -> u64 {
        u64::try_from(self.settings.payload_bytes_max).unwrap_or(0)
    }

    /// Carries something on beside the loop that found it; the process does not end before it has.
    pub(crate) fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        self.underway.spawn(work);
    }
}

/// Milliseconds from the wire; what is negative is nothing.
pub(crate) fn duration_ms(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
