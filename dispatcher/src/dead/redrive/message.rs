//! What a redrive publishes. Pure, but for the time.

use bytes::Bytes;
use opentelemetry::Context;
use prost::Message as _;
use workfleet_link::pipeline::Publish;
use workfleet_link::telemetry::trace;
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::names::Names;
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1::{self, Blob, Envelope, State};
use workfleet_proto::wire::{CopyHeaders, TraceMode};

use super::{Letter, Plan};

/// The mark that takes the failed result's place: run `run` has begun, with this payload.
pub(super) fn mark(names: &Names, letter: &Letter, plan: &Plan, expected: u64, run: u32) -> Publish {
    let envelope = &plan.envelope;
    let mark = v1::Result {
        id: letter.id.to_string(),
        state: State::Queued.into(),
        run,
        attempts_max: envelope.attempts_max,
        submitted_at_ms: envelope.submitted_at_ms,
        deadline_ms: envelope.deadline_ms,
        parent_id: envelope.parent_id.clone(),
        labels: envelope.labels.clone(),
        ordering_key: envelope.ordering_key.clone(),
        tenant: envelope.tenant.clone(),
        lane: plan.lane.to_string(),
        redriven_payload_sha256: Bytes::copy_from_slice(&plan.digest),
        ..v1::Result::default()
    };
    let message = Publish::new(names.result(&letter.id), mark.encode_to_vec().into());
    Publish { expected_sequence: Some(expected), ..message }
}

/// The first copy of the new run. Nothing may lie on its subject: an older copy that did would go with no one's word.
pub(super) fn task(
    names: &Names,
    id: &TaskId,
    plan: &Plan,
    claim: Option<Blob>,
    run: u32,
    result_sequence: u64,
    context: &Context,
) -> Publish {
    let generation = Generation { run, ..Generation::FIRST };
    let copy = CopyHeaders {
        generation,
        result_sequence,
        check: true,
        schema: plan.envelope.schema.clone(),
        schema_backs: 0,
        due_ms: now_ms(),
        // The context is that of a new trace already, linked to the old one.
        trace: TraceMode::Child,
    };
    let blob = claim.or_else(|| plan.envelope.blob.clone());
    let envelope = Envelope { blob, trace_id: trace::trace_id(context), ..plan.envelope.clone() };
    let mut message = Publish::new(names.task(id, plan.lane), envelope.encode_to_vec().into());
    for (name, value) in copy.pairs() {
        message.headers.insert(name, value);
    }
    trace::inject(context, &mut message.headers);
    message.message_id = Some(generation.message_id(id));
    message.expected_sequence = Some(0);
    message
}
