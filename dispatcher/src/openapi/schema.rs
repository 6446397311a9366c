//! A protobuf message as JSON schema, by the rules of the protobuf JSON mapping.

use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor};
use prost_types::FileDescriptorProto;
use serde_json::{Value, json};
use workfleet_proto::schema::KindSchema;

use super::{Members, reference};

/// What becomes of a field that the message does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Inputs: a typing mistake must not go by unnoticed.
    Refused,
    /// Outputs: a newer worker may say more.
    Allowed,
}

/// Adds the message, and all that it holds, and returns the name under which it can be referred to.
///
/// A worker describes its own kind, and a chain of messages can be as long as a descriptor set is large: so what is still
/// to be described stands in a list, where functions that call themselves would need as much of the stack.
pub(super) fn add_message(schemas: &mut Members, message: &MessageDescriptor, unknown: Unknown) -> String {
    let mut waiting = Vec::new();
    let name = place(schemas, &mut waiting, message);
    while let Some((name, message)) = waiting.pop() {
        let schema = message_schema(schemas, &mut waiting, &message, unknown);
        schemas.insert(name, schema);
    }
    name
}

/// Messages that have a name, and no schema yet.
type Waiting = Vec<(String, MessageDescriptor)>;

/// The message's name, under which it is described now or later. Messages may hold themselves.
fn place(schemas: &mut Members, waiting: &mut Waiting, message: &MessageDescriptor) -> String {
    let name = component(message.full_name());
    if !schemas.contains_key(&name) {
        schemas.insert(name.clone(), Value::Null);
        waiting.push((name.clone(), message.clone()));
    }
    name
}

fn message_schema(
    schemas: &mut Members,
    waiting: &mut Waiting,
    message: &MessageDescriptor,
    unknown: Unknown,
) -> Value {
    let mut properties = Members::new();
    for field in message.fields() {
        let mut schema = field_schema(schemas, waiting, &field);
        if let Some(about) = comment(field.parent_message().parent_file().file_descriptor_proto(), field.path()) {
            describe(&mut schema, &about);
        }
        properties.insert(field.name().to_owned(), schema);
    }
    let mut schema = json!({ "type": "object", "properties": properties });
    if unknown == Unknown::Refused {
        schema["additionalProperties"] = Value::Bool(false);
    }
    if let Some(about) = comment(message.parent_file().file_descriptor_proto(), message.path()) {
        describe(&mut schema, &about);
    }
    schema
}

/// A message outside of any package must not take the place of one of ours, say of `Task`.
fn component(full_name: &str) -> String {
    if full_name.contains('.') { full_name.to_owned() } else { format!("kind.{full_name}") }
}

/// What stands above the kind's service in its file, or above its input.
pub(super) fn comment_of_kind(kind: &KindSchema) -> Option<String> {
    let is_its = |method: MethodDescriptor| method.input() == kind.input && method.output() == kind.output;
    let service = kind.input.parent_pool().services().find(|service| service.methods().any(is_its));
    service
        .and_then(|service| comment(service.parent_file().file_descriptor_proto(), service.path()))
        .or_else(|| comment(kind.input.parent_file().file_descriptor_proto(), kind.input.path()))
}

fn field_schema(schemas: &mut Members, waiting: &mut Waiting, field: &FieldDescriptor) -> Value {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { return json!({ "type": "object" }) };
        let value = value_schema(schemas, waiting, &entry.map_entry_value_field().kind());
        return json!({ "type": "object", "additionalProperties": value });
    }
    let value = value_schema(schemas, waiting, &field.kind());
    match field.cardinality() {
        Cardinality::Repeated => json!({ "type": "array", "items": value }),
        Cardinality::Optional | Cardinality::Required => value,
    }
}

fn value_schema(schemas: &mut Members, waiting: &mut Waiting, kind: &Kind) -> Value {
    match kind {
        Kind::Double | Kind::Float => {
            json!({ "anyOf": [{ "type": "number" }, { "enum": ["NaN", "Infinity", "-Infinity"] }] })
        }
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => json!({ "type": "integer", "format": "int32" }),
        Kind::Uint32 | Kind::Fixed32 => {
            json!({ "type": "integer", "format": "int64", "minimum": 0, "maximum": u32::MAX })
        }
        // JSON's numbers are exact up to 2^53 only, so these are written as text.
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => json!({ "type": ["string", "integer"], "format": "int64" }),
        Kind::Uint64 | Kind::Fixed64 => json!({ "type": ["string", "integer"], "format": "uint64" }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::String => json!({ "type": "string" }),
        Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
        Kind::Enum(values) => reference("schemas", &add_enum(schemas, values)),
        Kind::Message(message) => {
            well_known(message.full_name()).unwrap_or_else(|| reference("schemas", &place(schemas, waiting, message)))
        }
    }
}

fn add_enum(schemas: &mut Members, values: &EnumDescriptor) -> String {
    let name = component(values.full_name());
    if !schemas.contains_key(&name) {
        let words: Vec<String> = values.values().map(|value| value.name().to_owned()).collect();
        let mut schema = json!({ "type": "string", "enum": words });
        if let Some(about) = comment(values.parent_file().file_descriptor_proto(), values.path()) {
            describe(&mut schema, &about);
        }
        schemas.insert(name.clone(), schema);
    }
    name
}

/// The messages that the mapping writes in a form of their own.
fn well_known(name: &str) -> Option<Value> {
    Some(match name.strip_prefix("google.protobuf.")? {
        "Timestamp" => json!({ "type": "string", "format": "date-time" }),
        "Duration" => json!({ "type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$" }),
        "FieldMask" => json!({ "type": "string" }),
        "Struct" | "Any" => json!({ "type": "object" }),
        "Empty" => json!({ "type": "object", "additionalProperties": false }),
        "Value" => json!({}),
        "ListValue" => json!({ "type": "array" }),
        "NullValue" => json!({ "type": "null" }),
        "BoolValue" => json!({ "type": ["boolean", "null"] }),
        "StringValue" => json!({ "type": ["string", "null"] }),
        "BytesValue" => json!({ "type": ["string", "null"], "contentEncoding": "base64" }),
        "Int32Value" | "UInt32Value" => json!({ "type": ["integer", "null"] }),
        "Int64Value" | "UInt64Value" => json!({ "type": ["string", "integer", "null"] }),
        "FloatValue" | "DoubleValue" => json!({ "type": ["number", "string", "null"] }),
        _ => return None,
    })
}

/// The comment above, or behind, what `path` leads to.
fn comment(file: &FileDescriptorProto, path: &[i32]) -> Option<String> {
    let location = file.source_code_info.as_ref()?.location.iter().find(|location| location.path == path)?;
    let text = location.leading_comments.as_deref().or(location.trailing_comments.as_deref())?;
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    (!lines.is_empty()).then(|| lines.join(" "))
}

fn describe(schema: &mut Value, about: &str) {
    schema["description"] = Value::from(about);
}

#[cfg(test)]
mod tests {
    use super::super::Members;
    use super::{Unknown, add_message};
    use prost::Message as _;
    use prost_reflect::DescriptorPool;
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
    use serde_json::json;
    use workfleet_proto::Task;
    use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
    use workfleet_proto::schema::KindSchema;

    #[test]
    fn a_kind_is_described_with_its_types_and_its_comments() {
        let kind =
            KindSchema::read(ThumbnailRequest::DESCRIPTORS, ThumbnailRequest::SERVICE).expect("the kind's own schema");
        let mut schemas = Members::new();
        let name = add_message(&mut schemas, &kind.input, Unknown::Refused);
        let schema = &schemas[&name];
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(schema["properties"]["image"]["contentEncoding"], "base64");
        assert_eq!(schema["properties"]["width_px"]["type"], "integer");
        assert!(schema["properties"]["width_px"]["description"].as_str().is_some_and(|text| text.contains("8192")));
        let fit = "workfleet.kinds.thumbnail.v1.Fit";
        assert_eq!(schema["properties"]["fit"], json!({ "$ref": format!("#/components/schemas/{fit}") }));
        assert_eq!(schemas[fit]["enum"], json!(["FIT_UNSPECIFIED", "FIT_CONTAIN", "FIT_COVER"]));
    }
    #[test]
    fn a_chain_of_messages_is_described_however_long_it_is() {
        const LENGTH: usize = 5_000;
        let message = |number: usize| DescriptorProto {
            name: Some(format!("M{number}")),
            field: vec![FieldDescriptorProto {
                name: Some("next".to_owned()),
                number: Some(1),
                label: Some(Label::Optional.into()),
                r#type: Some(Type::Message.into()),
                type_name: Some(format!(".a.M{}", (number + 1) % LENGTH)),
                ..Default::default()
            }],
            ..Default::default()
        };
        let file = FileDescriptorProto {
            name: Some("a.proto".to_owned()),
            package: Some("a".to_owned()),
            message_type: (0..LENGTH).map(message).collect(),
            syntax: Some("proto3".to_owned()),
            ..Default::default()
        };
        let set = FileDescriptorSet { file: vec![file] }.encode_to_vec();
        assert!(set.len() <= workfleet_proto::limits::DESCRIPTORS_BYTES_MAX, "{} bytes", set.len());
        let pool = DescriptorPool::decode(set.as_slice()).expect("descriptors");
        let mut schemas = Members::new();
        let first = pool.get_message_by_name("a.M0").expect("a message");
        assert_eq!(add_message(&mut schemas, &first, Unknown::Allowed), "a.M0");
        assert_eq!(schemas.len(), LENGTH);
        assert!(schemas.values().all(serde_json::Value::is_object));
    }
}
