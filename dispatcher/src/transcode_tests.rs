use super::{check, to_json};
use crate::admit::Payload;
use crate::error::Code;
use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{DescriptorPool, MessageDescriptor};
use workfleet_proto::Task as _;
use workfleet_proto::kinds::thumbnail::{Fit, ThumbnailRequest};
use workfleet_proto::kinds::webhook::WebhookRequest;
use workfleet_proto::schema::KindSchema;
use workfleet_proto::v1;

const BYTES_MAX: usize = 700 * 1024;

fn thumbnail() -> MessageDescriptor {
    KindSchema::read(ThumbnailRequest::DESCRIPTORS, ThumbnailRequest::SERVICE).expect("the kind").input
}

fn envelope() -> MessageDescriptor {
    let pool = DescriptorPool::decode(v1::DESCRIPTORS).expect("descriptors");
    pool.get_message_by_name("workfleet.v1.Envelope").expect("a message with a map")
}

fn json(text: &str) -> Payload {
    Payload::Json(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn json_becomes_the_kinds_own_message_in_both_spellings() {
    for text in [
        r#"{"image":"aGk=","width_px":64,"fit":"FIT_COVER"}"#,
        r#"{"image":"aGk","widthPx":64,"fit":2}"#,
        r#"{"fit":"FIT_COVER","width_px":64,"image":"aGk=","quality":0}"#,
    ] {
        let checked = check(json(text), &thumbnail(), BYTES_MAX).expect(text);
        let request = ThumbnailRequest::decode(checked.bytes).expect("the same message");
        assert_eq!((&request.image[..], request.width_px, request.fit()), (&b"hi"[..], 64, Fit::Cover));
    }
}

#[test]
fn an_unknown_json_field_is_refused_by_name_with_the_known_ones() {
    let error = check(json(r#"{"imagee":"aGk="}"#), &thumbnail(), BYTES_MAX).expect_err("a typing mistake");
    assert_eq!(error.code, Code::InvalidPayload);
    assert_eq!(error.field.as_deref(), Some("imagee"));
    assert!(error.known.contains(&"image".to_owned()), "{:?}", error.known);
}

#[test]
fn what_is_no_json_and_what_does_not_fit_are_told_apart() {
    let code = |payload: Payload| check(payload, &thumbnail(), BYTES_MAX).expect_err("wrong").code;
    for text in ["", "{", "{\"image\":}", "{} {}", "nul"] {
        assert_eq!(code(json(text)), Code::InvalidJson, "{text}");
    }
    assert_eq!(code(Payload::Json(Bytes::from_static(b"{\"\xff\":1}"))), Code::InvalidJson);
    for text in ["[]", "1", r#"{"width_px":-1}"#, r#"{"image":"%"}"#, r#"{"fit":"FIT_X"}"#] {
        assert_eq!(code(json(text)), Code::InvalidPayload, "{text}");
    }
    assert_eq!(code(Payload::Protobuf(Bytes::from_static(b"\xff\xff"))), Code::InvalidPayload);
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let deep = format!("{{\"image\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(check(json(&deep), &thumbnail(), BYTES_MAX).is_err());
}

#[test]
fn json_is_accepted_as_deep_as_a_worker_can_read_it() {
    let webhook = KindSchema::read(WebhookRequest::DESCRIPTORS, WebhookRequest::SERVICE).expect("the kind").input;
    let nested = |depth: usize| {
        let text = format!("{{\"data\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        check(json(&text), &webhook, BYTES_MAX)
    };
    // A list in a value is two messages.
    let deepest = (1..).take_while(|depth| nested(*depth).is_ok()).last().expect("lists are allowed");
    assert_eq!(deepest, 49);
    let error = nested(deepest + 1).expect_err("too deep");
    assert_eq!((error.code, error.detail.contains("100 messages")), (Code::InvalidPayload, true), "{error}");
    let bytes = nested(deepest).expect("as deep as can be").bytes;
    assert!(WebhookRequest::decode(bytes.clone()).is_ok(), "the worker cannot read what was accepted");
    assert!(to_json(&bytes, &webhook).is_ok());
}

#[test]
fn any_within_any_is_refused_and_does_not_overflow_the_stack() {
    let pool = DescriptorPool::global();
    let any = pool.get_message_by_name("google.protobuf.Any").expect("it is well known");
    let nested = |depth: usize| {
        let mut message = prost_types::Any::default();
        for _ in 0..depth {
            let value = message.encode_to_vec();
            message = prost_types::Any { type_url: "/google.protobuf.Any".to_owned(), value };
        }
        Bytes::from(message.encode_to_vec())
    };
    assert!(to_json(&nested(5_000), &any).is_err());
    let error = check(Payload::Protobuf(nested(5_000)), &any, BYTES_MAX).expect_err("too deep");
    assert_eq!(error.code, Code::InvalidPayload);
    assert!(check(Payload::Protobuf(nested(50)), &any, BYTES_MAX).is_ok());
}

#[test]
fn unknown_protobuf_fields_are_kept() {
    let mut bytes = ThumbnailRequest { width_px: 5, ..Default::default() }.encode_to_vec();
    bytes.extend([0xf8, 0x07, 0x01]); // Field 127 from a newer sender.
    let checked = check(Payload::Protobuf(bytes.clone().into()), &thumbnail(), BYTES_MAX).expect("fits");
    assert_eq!(checked.bytes, bytes);
}

#[test]
fn a_payload_over_the_limit_is_refused_with_its_size() {
    let request = ThumbnailRequest { image: vec![0; BYTES_MAX].into(), ..Default::default() };
    let error =
        check(Payload::Protobuf(request.encode_to_vec().into()), &thumbnail(), BYTES_MAX).expect_err("too large");
    assert_eq!(error.code, Code::PayloadTooLarge);
    assert!(error.detail.contains("716804 bytes"), "{}", error.detail);
}

#[test]
fn output_has_proto_names_defaults_and_base64() {
    let request = ThumbnailRequest { image: Bytes::from_static(b"hi"), ..Default::default() };
    let text = to_json(&request.encode_to_vec().into(), &thumbnail()).expect("fits");
    let value: serde_json::Value = serde_json::from_str(text.get()).expect("JSON");
    assert_eq!(
        value,
        serde_json::json!({
            "image": "aGk=", "width_px": 0, "height_px": 0,
            "fit": "FIT_UNSPECIFIED", "format": "FORMAT_UNSPECIFIED", "quality": 0, "blob": ""
        })
    );
    assert!(to_json(&Bytes::from_static(b"\xff"), &thumbnail()).is_err());
}

#[test]
fn numbers_that_json_has_none_for_are_shown_as_words_also_in_wrappers() {
    let pool = DescriptorPool::global();
    for name in ["DoubleValue", "FloatValue"] {
        let message = pool.get_message_by_name(&format!("google.protobuf.{name}")).expect("it is well known");
        for text in ["\"NaN\"", "\"Infinity\"", "\"-Infinity\"", "0.5"] {
            let checked = check(json(text), &message, BYTES_MAX).expect(text);
            assert_eq!(to_json(&checked.bytes, &message).expect("fits").get(), text, "{name}");
        }
    }
    let webhook = KindSchema::read(WebhookRequest::DESCRIPTORS, WebhookRequest::SERVICE).expect("the kind").input;
    let text = r#"{"data":{"a":[1.5,null,true,"x",{"b":[]}]}}"#;
    let bytes = check(json(text), &webhook, BYTES_MAX).expect("fits").bytes;
    let shown: serde_json::Value = serde_json::from_str(to_json(&bytes, &webhook).expect("fits").get()).expect("JSON");
    assert_eq!(shown["data"], serde_json::json!({ "a": [1.5, null, true, "x", { "b": [] }] }));
}

#[test]
fn the_digest_of_a_payload_does_not_depend_on_how_it_was_written() {
    let labels = |order: [&str; 3]| {
        let pairs: Vec<String> = order.iter().map(|name| format!("\"{name}\":\"{name}\"")).collect();
        check(json(&format!("{{\"labels\":{{{}}}}}", pairs.join(","))), &envelope(), BYTES_MAX).expect("fits").sha256
    };
    assert_eq!(labels(["a", "b", "c"]), labels(["c", "a", "b"]));
    assert_ne!(labels(["a", "b", "c"]), labels(["a", "b", "d"]));
    let small = check(json(r#"{"width_px":1}"#), &thumbnail(), BYTES_MAX).expect("fits").sha256;
    assert_ne!(small, check(json(r#"{"height_px":1}"#), &thumbnail(), BYTES_MAX).expect("fits").sha256);
}

#[test]
fn a_number_is_shown_as_it_was_submitted_to_the_last_digit() {
    let kind = KindSchema::read(WebhookRequest::DESCRIPTORS, WebhookRequest::SERVICE).expect("the kind").input;
    for number in ["-1.5e+38", "1.0000000000000002", "2.2250738585072014e-308", "123456789012345680.0"] {
        let checked = check(json(&format!(r#"{{"data":{{"n":{number}}}}}"#)), &kind, BYTES_MAX).expect(number);
        let shown = to_json(&checked.bytes, &kind).expect("JSON");
        let again = check(json(shown.get()), &kind, BYTES_MAX).expect("our own JSON");
        assert_eq!(again.sha256, checked.sha256, "{shown}");
        let shown: serde_json::Value = serde_json::from_str(shown.get()).expect("JSON");
        assert_eq!(shown["data"]["n"].as_f64(), Some(number.parse().expect("a number")), "{number}");
    }
}

#[test]
fn a_refusal_stays_short_however_long_the_name_is_that_it_is_about() {
    let name = "n".repeat(10_000);
    let error = check(json(&format!(r#"{{"{name}":1}}"#)), &thumbnail(), BYTES_MAX).expect_err("no such field");
    assert!(error.code == Code::InvalidPayload && error.detail.len() < 2_000, "{} bytes", error.detail.len());
    assert!(error.field.as_ref().is_some_and(|field| field.len() < 2_000));
}
