//! A request whose every part was checked.

use std::time::SystemTime;

use bytes::Bytes;
use serde_json::json;
use workfleet_proto::kinds::webhook::WebhookRequest;

use crate::error::DeliveryError;
use crate::json;
use crate::secrets::SecretName;
use crate::target::Target;

/// Longest type of an event.
const TYPE_BYTES_MAX: usize = 128;

/// What is to be sent where, and signed with what.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) target: Target,
    event: String,
    data: serde_json::Value,
    pub(crate) secret: Option<SecretName>,
}

impl Order {
    pub(crate) fn read(request: WebhookRequest) -> Result<Self, DeliveryError> {
        let WebhookRequest { url, r#type, data, secret_ref } = request;
        let target = Target::read(&url)?;
        if !is_type(&r#type) {
            return Err(DeliveryError::InvalidType { bytes_max: TYPE_BYTES_MAX });
        }
        let secret = if secret_ref.is_empty() { None } else { Some(SecretName::read(&secret_ref)?) };
        Ok(Self { target, event: r#type, data: json::of(data.unwrap_or_default())?, secret })
    }

    /// The body. It is the same in every attempt: an event has happened once, at the time when it was submitted.
    pub(crate) fn body(&self, submitted_at: SystemTime) -> Result<Bytes, DeliveryError> {
        let timestamp = humantime::format_rfc3339_millis(submitted_at).to_string();
        json::text(&json!({"type": self.event, "timestamp": timestamp, "data": self.data})).map(Bytes::from)
    }
}

fn is_type(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    text.len() <= TYPE_BYTES_MAX && text.split('.').all(is_word)
}

#[cfg(test)]
mod tests {
    use super::{Order, is_type};
    use std::time::{Duration, UNIX_EPOCH};
    use workfleet_proto::kinds::webhook::WebhookRequest;

    #[test]
    fn a_type_is_words_with_full_stops() {
        for good in ["paid", "invoice.paid", "a.b.c", "Invoice_2.paid"] {
            assert!(is_type(good), "{good}");
        }
        for wrong in ["", ".", "a.", ".a", "a..b", "a b", "a-b", "a\n", "ä", &"x".repeat(129)] {
            assert!(!is_type(wrong), "{wrong}");
        }
    }

    #[test]
    fn the_body_has_the_specifications_three_fields() {
        let request = WebhookRequest {
            url: "https://a.example/".to_owned(),
            r#type: "invoice.paid".to_owned(),
            ..Default::default()
        };
        let body = Order::read(request).unwrap().body(UNIX_EPOCH + Duration::from_millis(1_500)).unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert_eq!(text, r#"{"data":null,"timestamp":"1970-01-01T00:00:01.500Z","type":"invoice.paid"}"#);
    }
}
