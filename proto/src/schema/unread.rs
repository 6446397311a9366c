//! What a payload says that a schema has no word for.
//!
//! A reader of protobuf skips what it does not know, without a word. That is right for a field that is gone, and wrong for
//! one that is still to come: the handler would run, its result would stand, and what the caller asked for would not have
//! been done. To compare two schemas would tell less, since most tasks of a newer one say nothing new.

use bytes::Bytes;
use prost_reflect::{DynamicMessage, Kind, ReflectMessage as _, Value};

use super::KindSchema;

impl KindSchema {
    /// The first thing in an input that this schema does not know: a field, or a value of an enum. Nothing either where the
    /// bytes are no such message at all: that is for the reader to say.
    #[must_use]
    pub fn unread(&self, payload: Bytes) -> Option<String> {
        let message = DynamicMessage::decode(self.input.clone(), payload).ok()?;
        in_message(&message)
    }
}

/// Decoding has bounded how deep it is.
fn in_message(message: &DynamicMessage) -> Option<String> {
    if let Some(field) = message.unknown_fields().next() {
        return Some(format!("field {} of {}", field.number(), message.descriptor().full_name()));
    }
    message.fields().find_map(|(field, value)| in_value(&field.kind(), value))
}

fn in_value(kind: &Kind, value: &Value) -> Option<String> {
    match (kind, value) {
        (_, Value::Message(message)) => in_message(message),
        (_, Value::List(values)) => values.iter().find_map(|value| in_value(kind, value)),
        (Kind::Message(entry), Value::Map(pairs)) if entry.is_map_entry() => {
            let kind = entry.map_entry_value_field().kind();
            pairs.values().find_map(|value| in_value(&kind, value))
        }
        (Kind::Enum(words), Value::EnumNumber(number)) if words.get_value(*number).is_none() => {
            Some(format!("value {number} of {}", words.full_name()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{
        DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
        FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
    };

    use super::super::KindSchema;

    fn field(name: &str, number: i32, r#type: Type, type_name: Option<&str>, label: Label) -> FieldDescriptorProto {
        FieldDescriptorProto {
            name: Some(name.to_owned()),
            number: Some(number),
            label: Some(label.into()),
            r#type: Some(r#type.into()),
            type_name: type_name.map(ToOwned::to_owned),
            ..Default::default()
        }
    }

    /// `message In { string a = 1; Tone tone = 2; repeated In more = 3; }`
    fn schema() -> KindSchema {
        let fields = vec![
            field("a", 1, Type::String, None, Label::Optional),
            field("tone", 2, Type::Enum, Some(".t.Tone"), Label::Optional),
            field("more", 3, Type::Message, Some(".t.In"), Label::Repeated),
        ];
        let value = EnumValueDescriptorProto { name: Some("CALM".to_owned()), number: Some(0), ..Default::default() };
        let method = MethodDescriptorProto {
            name: Some("Run".to_owned()),
            input_type: Some(".t.In".to_owned()),
            output_type: Some(".t.In".to_owned()),
            ..Default::default()
        };
        let file = FileDescriptorProto {
            name: Some("t.proto".to_owned()),
            package: Some("t".to_owned()),
            syntax: Some("proto3".to_owned()),
            message_type: vec![DescriptorProto { name: Some("In".to_owned()), field: fields, ..Default::default() }],
            enum_type: vec![EnumDescriptorProto {
                name: Some("Tone".to_owned()),
                value: vec![value],
                ..Default::default()
            }],
            service: vec![ServiceDescriptorProto {
                name: Some("T".to_owned()),
                method: vec![method],
                ..Default::default()
            }],
            ..Default::default()
        };
        KindSchema::read(&FileDescriptorSet { file: vec![file] }.encode_to_vec(), "t.T").expect("a kind")
    }

    #[test]
    fn what_is_new_is_named_however_deep_it_is_and_what_is_no_message_is_not() {
        let cases: [(&[u8], Option<&str>); 6] = [
            (b"", None),
            (b"\x0a\x01x\x10\x00\x1a\x02\x10\x00", None),
            (b"\x0a\x01x\x20\x01", Some("field 4 of t.In")),
            (b"\x1a\x02\x0a\x00\x1a\x04\x1a\x02\x20\x01", Some("field 4 of t.In")),
            (b"\x1a\x02\x10\x07", Some("value 7 of t.Tone")),
            (b"\xff\xff", None),
        ];
        for (payload, unread) in cases {
            assert_eq!(schema().unread(payload.into()).as_deref(), unread, "{payload:?}");
        }
    }
}
