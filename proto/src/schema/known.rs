//! Messages that have a form of their own in JSON: times, wrappers, `Struct`, `Any`.
//!
//! The reader knows them by name, and panics on a payload when a set says that they have other fields. Only they are held
//! to what they are: `google/protobuf/descriptor.proto` gains fields with the years, and no payload is read by it.

use prost_reflect::{Cardinality, DescriptorPool, Kind, MessageDescriptor};

/// Where they are defined, in `google/protobuf`.
const FILES: [&str; 7] = [
    "any.proto",
    "duration.proto",
    "empty.proto",
    "field_mask.proto",
    "struct.proto",
    "timestamp.proto",
    "wrappers.proto",
];

/// Number, name, type, cardinality, and whether it is a group and part of a choice.
type Field = (u32, String, String, Cardinality, bool, bool);

/// The first message of these names that is another than everybody's.
pub(super) fn redefined(pool: &DescriptorPool) -> Option<String> {
    let everybodys = DescriptorPool::global();
    let is_known = |message: &MessageDescriptor| {
        let file = message.parent_file();
        file.name().strip_prefix("google/protobuf/").is_some_and(|name| FILES.contains(&name))
    };
    let mut other = everybodys.all_messages().filter(is_known).filter(|message| {
        let own = pool.get_message_by_name(message.full_name());
        own.is_some_and(|own| own.is_map_entry() != message.is_map_entry() || fields(&own) != fields(message))
    });
    other.next().map(|message| message.full_name().to_owned())
}

fn fields(message: &MessageDescriptor) -> Vec<Field> {
    let mut fields: Vec<Field> = message
        .fields()
        .map(|field| {
            let kind = match field.kind() {
                Kind::Message(message) => message.full_name().to_owned(),
                Kind::Enum(values) => values.full_name().to_owned(),
                plain => format!("{plain:?}"),
            };
            let in_choice = field.containing_oneof().is_some();
            (field.number(), field.name().to_owned(), kind, field.cardinality(), field.is_group(), in_choice)
        })
        .collect();
    fields.sort_unstable_by_key(|field| field.0);
    fields
}
