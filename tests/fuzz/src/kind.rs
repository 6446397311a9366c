//! The contract of a kind: a descriptor set that a worker registers, and that every dispatcher then reads.
//!
//! The input is the length of a payload in JSON as two bytes, that payload, and the descriptor set.

use std::sync::LazyLock;

use bytes::Bytes;
use workfleet_dispatcher::{Payload, openapi};
use workfleet_proto::Task as _;
use workfleet_proto::id::QueueName;
use workfleet_proto::kinds::webhook::WebhookRequest;
use workfleet_proto::schema::KindSchema;

use crate::transcode::transcoded;

static OURS: LazyLock<KindSchema> =
    LazyLock::new(|| KindSchema::read(WebhookRequest::DESCRIPTORS, WebhookRequest::SERVICE).expect("the kind's own"));

/// Reads one contract.
pub fn run(data: &[u8]) {
    let [high, low, rest @ ..] = data else { return };
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let (payload, descriptors) = rest.split_at(length);
    let Ok(schema) = KindSchema::read(descriptors, WebhookRequest::SERVICE) else { return };
    assert_eq!(schema.check_replaces(&schema), Ok(()), "it does not replace itself");
    let _ = schema.check_replaces(&OURS);
    let _ = OURS.check_replaces(&schema);
    let queue: QueueName = "webhook".parse().expect("a name");
    let document = openapi::document(&[(queue, schema.clone())]);
    assert!(document["paths"].get("/v1/queues/webhook/tasks").is_some());
    let payload = Bytes::copy_from_slice(payload);
    transcoded(Payload::Json(payload.clone()), &schema.input);
    transcoded(Payload::Protobuf(payload), &schema.output);
}
