//! JSON to protobuf and back, with the descriptors of a kind.
//!
//! Unknown JSON fields are refused, since they are typing mistakes; unknown protobuf fields are kept, since they come
//! from a newer sender. Generated types would be faster and would make every new kind a rebuild of the dispatcher.

mod depth;
mod words;

use crate::admit::Payload;
use crate::error::{ApiError, Code};
use crate::limits::PAYLOAD_DEPTH_MAX;
use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DeserializeOptions, DynamicMessage, MapKey, MessageDescriptor, SerializeOptions, Value};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};
use workfleet_proto::limits::{FAILURE_MESSAGE_BYTES_MAX, cut};

/// A payload that fits its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Checked {
    /// The message, encoded. Bytes that came as protobuf are left as they came.
    pub(crate) bytes: Bytes,
    /// SHA-256 of what it says, which does not depend on the order of maps.
    pub(crate) sha256: [u8; 32],
}

/// Checks a payload against the kind's input message. It is taken, not borrowed: a large text is gone before its message
/// is encoded, so that never more of it is in memory than the text and what it says.
///
/// # Errors
/// When it is too large, too deeply nested, not JSON, or does not fit.
pub(crate) fn check(payload: Payload, input: &MessageDescriptor, bytes_max: usize) -> Result<Checked, ApiError> {
    let (message, encoded) = match payload {
        Payload::Json(text) => (from_json(&text, input)?, None),
        Payload::Protobuf(bytes) => (from_protobuf(&bytes, input)?, Some(bytes)),
    };
    let bytes = encoded.as_ref().map_or_else(|| message.encoded_len(), Bytes::len);
    if bytes > bytes_max {
        return Err(too_large(bytes, bytes_max));
    }
    if !depth::fits(&message) {
        let detail = format!("the payload is nested more than {PAYLOAD_DEPTH_MAX} messages deep");
        return Err(ApiError::new(Code::InvalidPayload, detail));
    }
    let sha256 = digest(&message);
    Ok(Checked { sha256, bytes: encoded.unwrap_or_else(|| Bytes::from(message.encode_to_vec())) })
}

/// The refusal of a payload of this size.
pub(crate) fn too_large(bytes: usize, bytes_max: usize) -> ApiError {
    let detail = format!("the payload has {bytes} bytes; the limit is {bytes_max} bytes");
    ApiError::new(Code::PayloadTooLarge, detail)
}

fn from_json(text: &[u8], input: &MessageDescriptor) -> Result<DynamicMessage, ApiError> {
    if let Err(error) = std::str::from_utf8(text) {
        let detail = format!("the body is not UTF-8: byte {} is wrong", error.valid_up_to());
        return Err(ApiError::new(Code::InvalidJson, detail));
    }
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let message = DynamicMessage::deserialize_with_options(input.clone(), &mut reader, &options)
        .map_err(|error| json_error(&error, input))?;
    reader.end().map_err(|error| json_error(&error, input))?;
    Ok(message)
}

fn json_error(error: &serde_json::Error, input: &MessageDescriptor) -> ApiError {
    if !error.is_data() {
        return ApiError::new(Code::InvalidJson, format!("the body is not JSON: {error}"));
    }
    // It may tell a name of the payload's own, which can be as long as the payload.
    let text = error.to_string();
    let text = cut(&text, FAILURE_MESSAGE_BYTES_MAX);
    let detail = format!("the payload does not fit {}: {text}", input.full_name());
    let refusal = ApiError::new(Code::InvalidPayload, detail);
    let unknown = text.strip_prefix("unrecognized field name '").and_then(|rest| rest.split('\'').next());
    match unknown {
        // Which message a nested field belongs to is not said, so only the top's own names are offered.
        Some(name) => refusal.field(name).known(input.fields().map(|field| field.name().to_owned()).collect()),
        None => refusal,
    }
}

fn from_protobuf(bytes: &Bytes, input: &MessageDescriptor) -> Result<DynamicMessage, ApiError> {
    DynamicMessage::decode(input.clone(), bytes.clone()).map_err(|error| {
        ApiError::new(Code::InvalidPayload, format!("the payload does not fit {}: {error}", input.full_name()))
    })
}

/// Encoded bytes as JSON: proto field names, defaults included, `bytes` as base64, 64-bit numbers as text.
///
/// # Errors
/// When the bytes do not fit the message, or are too deeply nested.
pub(crate) fn to_json(bytes: &Bytes, message: &MessageDescriptor) -> Result<Box<RawValue>, TranscodeError> {
    let wrong = |error: String| TranscodeError { message: message.full_name().to_owned(), error };
    let decoded = DynamicMessage::decode(message.clone(), bytes.clone()).map_err(|error| wrong(error.to_string()))?;
    if !depth::fits(&decoded) {
        return Err(wrong(format!("it is nested more than {PAYLOAD_DEPTH_MAX} messages deep")));
    }
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(false);
    let mut text = Vec::with_capacity(bytes.len() / 3 * 4 + 256);
    decoded
        .serialize_with_options(words::Words(&mut serde_json::Serializer::new(&mut text)), &options)
        .map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(text).map_err(|error| wrong(error.to_string()))?;
    RawValue::from_string(text).map_err(|error| wrong(error.to_string()))
}

/// Stored bytes that are not what they should be.
#[derive(Debug, Clone, thiserror::Error)]
#[error("bytes that are no {message}: {error}")]
pub(crate) struct TranscodeError {
    message: String,
    error: String,
}

/// SHA-256 of what encoded bytes say, to compare with [`Checked::sha256`]; nothing where they do not fit the message.
pub(crate) fn sha256(bytes: &Bytes, message: &MessageDescriptor) -> Option<[u8; 32]> {
    DynamicMessage::decode(message.clone(), bytes.clone()).ok().map(|message| digest(&message))
}

/// SHA-256 of what a message says: fields by number, maps by key. Two encodings of one message have the same.
fn digest(message: &DynamicMessage) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash_message(&mut hash, message);
    hash.finalize().into()
}

fn hash_message(hash: &mut Sha256, message: &DynamicMessage) {
    for (field, value) in message.fields() {
        hash.update(field.number().to_le_bytes());
        hash_value(hash, value);
    }
    for field in message.unknown_fields() {
        let mut bytes = Vec::new();
        field.encode(&mut bytes);
        hash.update(bytes);
    }
    hash.update([0xff]);
}

fn hash_value(hash: &mut Sha256, value: &Value) {
    match value {
        Value::Message(message) => hash_message(hash, message),
        Value::List(values) => {
            hash.update(values.len().to_le_bytes());
            values.iter().for_each(|value| hash_value(hash, value));
        }
        Value::Map(pairs) => {
            let mut pairs: Vec<(&MapKey, &Value)> = pairs.iter().collect();
            pairs.sort_unstable_by_key(|(key, _)| *key);
            hash.update(pairs.len().to_le_bytes());
            for (key, value) in pairs {
                hash_text(hash, format!("{key:?}").as_bytes());
                hash_value(hash, value);
            }
        }
        Value::Bytes(bytes) => hash_text(hash, bytes),
        Value::String(text) => hash_text(hash, text.as_bytes()),
        // Numbers, bits and enums: their written form is their value.
        number => hash_text(hash, format!("{number:?}").as_bytes()),
    }
}

fn hash_text(hash: &mut Sha256, text: &[u8]) {
    // The length first, or two neighbours could be cut in two ways.
    hash.update(text.len().to_le_bytes());
    hash.update(text);
}

#[cfg(test)]
#[path = "transcode_tests.rs"]
mod tests;
