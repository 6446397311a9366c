//! JSON to protobuf and back, with the project's own kinds and one that has every type there is.
//!
//! The first byte chooses the kind, the second whether the rest is JSON or protobuf.

use std::sync::LazyLock;

use bytes::Bytes;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use workfleet_dispatcher::Payload;
use workfleet_dispatcher::fuzz::{check, sha256, to_json};
use workfleet_proto::Task;
use workfleet_proto::kinds::email::EmailRequest;
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_proto::kinds::webhook::WebhookRequest;
use workfleet_proto::schema::KindSchema;

use crate::is_a_fair_refusal;

const BYTES_MAX: usize = 64 * 1024;

static KINDS: LazyLock<[KindSchema; 4]> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/kinds/everything.proto");
    let everything = workfleet_codegen::read_kind(path.as_ref()).expect("a kind");
    [
        KindSchema::read(&everything.descriptor_set(), &everything.service).expect("its schema"),
        of::<ThumbnailRequest>(),
        of::<WebhookRequest>(),
        of::<EmailRequest>(),
    ]
});

fn of<T: Task>() -> KindSchema {
    KindSchema::read(T::DESCRIPTORS, T::SERVICE).expect("a kind of ours")
}

/// Checks one payload.
pub fn run(data: &[u8]) {
    let [kind, form, rest @ ..] = data else { return };
    let input = &KINDS[usize::from(*kind) % KINDS.len()].input;
    let rest = Bytes::copy_from_slice(rest);
    let payload = if form % 2 == 0 { Payload::Json(rest) } else { Payload::Protobuf(rest) };
    transcoded(payload, input);
}

/// What holds for a payload of any message.
pub fn transcoded(payload: Payload, input: &MessageDescriptor) {
    let is_json = matches!(payload, Payload::Json(_));
    let (bytes, digest) = match check(payload, input, BYTES_MAX) {
        Ok(checked) => checked,
        Err(error) => return is_a_fair_refusal(&error),
    };
    assert!(bytes.len() <= BYTES_MAX);
    // What is accepted can be read: by the worker, which is generated code with prost's own limits, and by us.
    let decoded = DynamicMessage::decode(input.clone(), bytes.clone());
    assert!(decoded.is_ok(), "accepted, and not to be read again: {decoded:?}");
    assert_eq!(sha256(&bytes, input), Some(digest), "another digest for the same payload");
    if !is_json {
        // Protobuf may say what JSON has no words for, say a time beyond the year 9999.
        if let Ok(json) = to_json(&bytes, input) {
            serde_json::from_str::<serde_json::Value>(&json).expect("JSON");
        }
        return;
    }
    let json = to_json(&bytes, input).unwrap_or_else(|error| panic!("accepted as JSON, and not to be shown: {error}"));
    let again = check(Payload::Json(json.clone().into()), input, usize::MAX);
    let (_, same) = again.unwrap_or_else(|error| panic!("our own JSON is refused: {error}: {json}"));
    assert_eq!(same, digest, "JSON that says something else: {json}");
}
