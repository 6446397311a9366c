//! How deep a message is nested.
//!
//! Encoding and JSON know no bound where decoding has one: JSON that is nested 60 deep in a `google.protobuf.Value` would be
//! accepted, and no worker could read it. And an `Any` holds bytes, so that a reader's own bound begins anew in each: one
//! within another, thousands of times, would be written by a function that calls itself until the stack is gone. Decoding
//! everything once more would show the first and not the second.

use prost_reflect::{DynamicMessage, ReflectMessage as _, Value};

use crate::limits::PAYLOAD_DEPTH_MAX;

/// Whether every reader of protobuf can read it, and its JSON be written.
pub(super) fn fits(message: &DynamicMessage) -> bool {
    message_fits(message, PAYLOAD_DEPTH_MAX)
}

fn message_fits(message: &DynamicMessage, left: usize) -> bool {
    match inside_any(message) {
        Some(inner) => left > 0 && message_fits(&inner, left - 1),
        None => message.fields().all(|(_, value)| value_fits(value, left)),
    }
}

fn value_fits(value: &Value, left: usize) -> bool {
    match value {
        Value::Message(message) => left > 0 && message_fits(message, left - 1),
        Value::List(values) => values.iter().all(|value| value_fits(value, left)),
        // On the wire, an entry is a message of its own.
        Value::Map(pairs) => left > 0 && pairs.values().all(|value| value_fits(value, left - 1)),
        _ => true,
    }
}

/// The message in an `Any`, where its type is known.
fn inside_any(message: &DynamicMessage) -> Option<DynamicMessage> {
    let descriptor = message.descriptor();
    if descriptor.full_name() != "google.protobuf.Any" {
        return None;
    }
    let (url, bytes) = (message.get_field_by_name("type_url")?, message.get_field_by_name("value")?);
    let name = url.as_str()?.rsplit('/').next()?;
    let inner = descriptor.parent_pool().get_message_by_name(name)?;
    DynamicMessage::decode(inner, bytes.as_bytes()?.clone()).ok()
}
