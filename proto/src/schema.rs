//! Descriptor sets by hash, and which change of a kind is compatible.
//!
//! A schema's name is a hash of its bytes rather than a number somebody must remember to raise: two builds of one file
//! agree without asking anybody, and a change can never go by unnoticed.

mod known;
mod unread;

use std::collections::HashSet;
use std::fmt::Write as _;

use prost::Message as _;
use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, Kind, MessageDescriptor};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MessageOptions};
use sha2::{Digest, Sha256};

use crate::limits::DESCRIPTORS_BYTES_MAX;

/// The name of a schema: the first 16 hexadecimal digits of the SHA-256 of its descriptor set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SchemaHash(String);

impl SchemaHash {
    /// The hash of a descriptor set.
    #[must_use]
    pub fn of(descriptors: &[u8]) -> Self {
        let mut text = String::with_capacity(16);
        for byte in &Sha256::digest(descriptors)[..8] {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The hash as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A kind, ready to transcode with.
#[derive(Debug, Clone)]
pub struct KindSchema {
    /// The schema's name.
    pub hash: SchemaHash,
    /// The input message.
    pub input: MessageDescriptor,
    /// The output message.
    pub output: MessageDescriptor,
}

impl KindSchema {
    /// Reads a descriptor set and finds the service in it.
    ///
    /// # Errors
    /// When the bytes are no descriptor set, or there is no such service with one method.
    pub fn read(descriptors: &[u8], service: &str) -> Result<Self, SchemaError> {
        let pool = pool(descriptors).map_err(SchemaError::NotDescriptors)?;
        let found = pool.get_service_by_name(service).ok_or_else(|| SchemaError::NoService(service.to_owned()))?;
        let method = found.methods().next().ok_or_else(|| SchemaError::NoService(service.to_owned()))?;
        Ok(Self { hash: SchemaHash::of(descriptors), input: method.input(), output: method.output() })
    }

    /// Checks that what was written with `older` can be read with this schema, in protobuf and in JSON.
    ///
    /// A field may come or go; what may not happen is that a number or a name that stays means something else.
    ///
    /// # Errors
    /// Every field at fault, in words.
    pub fn check_replaces(&self, older: &Self) -> Result<(), SchemaError> {
        let mut faults = Faults::default();
        faults.waiting.push((older.output.clone(), self.output.clone()));
        faults.waiting.push((older.input.clone(), self.input.clone()));
        // A list, since a chain of messages in a descriptor set of strangers can be longer than the stack is deep.
        while let Some((older, newer)) = faults.waiting.pop() {
            faults.compare_messages(&older, &newer);
        }
        if faults.found.is_empty() { Ok(()) } else { Err(SchemaError::Incompatible(faults.found.join("; "))) }
    }
}

/// Reads a descriptor set of strangers. The reader panics where it should refuse (prost-reflect 0.16.5: a syntax that it does
/// not know, as `editions`; keys of maps that can be none), so what is known to do that is looked for first, and what is not
/// is fenced in. What it would panic on later, with a payload, is looked for afterwards.
fn pool(descriptors: &[u8]) -> Result<DescriptorPool, String> {
    let set = FileDescriptorSet::decode(descriptors).map_err(|error| error.to_string())?;
    for file in &set.file {
        if !["", "proto2", "proto3"].contains(&file.syntax()) {
            let syntax: String = file.syntax().chars().take(40).collect();
            return Err(format!("a file has the syntax {syntax:?}; proto2 and proto3 can be read"));
        }
        if !file.message_type.iter().all(has_sound_maps) {
            return Err("a map has no value, or a key that can be none".to_owned());
        }
    }
    let read = std::panic::catch_unwind(|| DescriptorPool::decode(descriptors).map_err(|error| error.to_string()));
    let pool = read.unwrap_or_else(|_| Err("it is so wrong that it cannot be said how".to_owned()))?;
    known::redefined(&pool).map_or(Ok(pool), |name| Err(format!("{name} is not what everybody knows by this name")))
}

/// A map is a list of messages with a key and a value; compilers of `.proto` files make them right.
fn has_sound_maps(message: &DescriptorProto) -> bool {
    let single = |number| message.field.iter().find(|f| f.number() == number && f.label() == Label::Optional);
    let is_key = |field: &FieldDescriptorProto| {
        !matches!(field.r#type(), Type::Double | Type::Float | Type::Bytes | Type::Enum | Type::Message | Type::Group)
    };
    let is_map = message.options.as_ref().is_some_and(MessageOptions::map_entry);
    (!is_map || (single(1).is_some_and(is_key) && single(2).is_some()))
        && message.nested_type.iter().all(has_sound_maps)
}

/// Why a schema is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// The bytes are not a descriptor set.
    #[error("not a descriptor set: {0}")]
    NotDescriptors(String),
    /// The kind's service is not in the set.
    #[error("the descriptor set has no service `{0}` with a method")]
    NoService(String),
    /// Tasks that wait could not be read any more.
    #[error("incompatible with the schema that waiting tasks were written with: {0}")]
    Incompatible(String),
    /// A schema is named by the hash of its descriptor set, so tasks of two services of one set could not be told apart.
    #[error(
        "the queue takes tasks of the service `{registered}` of this very descriptor set, and `{service}` is another: \
         retire the queue first, or give each service a set of its own"
    )]
    OtherService {
        /// The one that the queue has.
        registered: String,
        /// The one that was to take its place.
        service: String,
    },
    /// More than [`DESCRIPTORS_BYTES_MAX`].
    #[error("the descriptor set has {bytes} bytes; the limit is {DESCRIPTORS_BYTES_MAX} bytes: import less")]
    TooLarge {
        /// What it has.
        bytes: usize,
    },
}

#[derive(Default)]
struct Faults {
    /// Pairs that are still to be compared.
    waiting: Vec<(MessageDescriptor, MessageDescriptor)>,
    seen: HashSet<String>,
    found: Vec<String>,
}

impl Faults {
    fn compare_messages(&mut self, older: &MessageDescriptor, newer: &MessageDescriptor) {
        // Messages may hold themselves; each is compared once.
        if !self.seen.insert(older.full_name().to_owned()) {
            return;
        }
        for field in older.fields() {
            let place = format!("{}.{}", older.name(), field.name());
            match newer.get_field(field.number()) {
                Some(now) => self.compare_fields(&place, &field, &now),
                None if newer.get_field_by_name(field.name()).is_some() => {
                    self.found.push(format!("{place} had number {}, and its name now has another", field.number()));
                }
                None => {}
            }
        }
    }

    fn compare_fields(&mut self, place: &str, older: &FieldDescriptor, newer: &FieldDescriptor) {
        if older.name() != newer.name() {
            self.found.push(format!("{place} (number {}) is now called {}", older.number(), newer.name()));
        }
        if older.cardinality() != newer.cardinality() {
            self.found.push(format!("{place} was {:?} and is {:?}", older.cardinality(), newer.cardinality()));
        }
        match (older.kind(), newer.kind()) {
            (Kind::Message(older), Kind::Message(newer)) => self.waiting.push((older, newer)),
            (Kind::Enum(older), Kind::Enum(newer)) => self.compare_enums(&older, &newer),
            (older, newer) if older == newer => {}
            (older, newer) => self.found.push(format!("{place} was {older:?} and is {newer:?}")),
        }
    }

    fn compare_enums(&mut self, older: &EnumDescriptor, newer: &EnumDescriptor) {
        for value in older.values() {
            match newer.get_value(value.number()) {
                Some(now) if now.name() == value.name() => {}
                Some(now) => self.found.push(format!("{} is now called {}", value.full_name(), now.name())),
                None => self.found.push(format!("{} is gone", value.full_name())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KindSchema, SchemaError, SchemaHash};
    use crate::kinds::thumbnail::ThumbnailRequest;
    use crate::kinds::webhook::WebhookRequest;
    use crate::task::Task;
    use prost::Message;
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet, MessageOptions};

    fn read(set: &FileDescriptorSet) -> KindSchema {
        KindSchema::read(&set.encode_to_vec(), ThumbnailRequest::SERVICE).expect("the kind's own schema")
    }

    fn changed(change: impl FnOnce(&mut DescriptorProto)) -> Result<(), SchemaError> {
        let old = FileDescriptorSet::decode(ThumbnailRequest::DESCRIPTORS).expect("descriptors");
        let mut new = old.clone();
        change(&mut new.file.last_mut().expect("a file").message_type[0]);
        read(&new).check_replaces(&read(&old))
    }

    #[test]
    fn the_same_bytes_have_the_same_name() {
        let hash = SchemaHash::of(ThumbnailRequest::DESCRIPTORS);
        assert_eq!(hash.as_str().len(), 16);
        assert_eq!(hash, SchemaHash::of(ThumbnailRequest::DESCRIPTORS));
        assert_ne!(hash, SchemaHash::of(b"other"));
    }

    #[test]
    fn a_field_may_come_or_go() {
        assert_eq!(changed(|message| drop(message.field.pop())), Ok(()));
        assert!(changed(|message| message.field.last_mut().expect("a field").number = Some(40)).is_err());
    }

    #[test]
    fn a_number_that_means_something_else_is_refused_with_the_reason() {
        let refused = changed(|message| message.field[1].r#type = Some(9)).expect_err("uint32 is not string");
        assert!(refused.to_string().contains("ThumbnailRequest.width_px"), "{refused}");
        let renamed = changed(|message| message.field[1].name = Some("breadth".to_owned())).expect_err("JSON breaks");
        assert!(renamed.to_string().contains("breadth"), "{renamed}");
    }

    #[test]
    fn a_file_of_another_syntax_is_refused_and_no_panic() {
        let mut set = FileDescriptorSet::decode(ThumbnailRequest::DESCRIPTORS).expect("descriptors");
        set.file[0].syntax = Some("editions".to_owned());
        let refused = KindSchema::read(&set.encode_to_vec(), ThumbnailRequest::SERVICE).expect_err("unknown");
        assert!(refused.to_string().contains("editions"), "{refused}");
    }

    #[test]
    fn a_map_whose_key_can_be_none_is_refused_and_no_panic() {
        let with_key = |key: Type| {
            let mut set = FileDescriptorSet::decode(ThumbnailRequest::DESCRIPTORS).expect("descriptors");
            let field = |name: &str, number, kind: Type| FieldDescriptorProto {
                name: Some(name.to_owned()),
                number: Some(number),
                label: Some(Label::Optional.into()),
                r#type: Some(kind.into()),
                ..Default::default()
            };
            let entry = DescriptorProto {
                name: Some("PairsEntry".to_owned()),
                field: vec![field("key", 1, key), field("value", 2, Type::String)],
                options: Some(MessageOptions { map_entry: Some(true), ..Default::default() }),
                ..Default::default()
            };
            set.file.last_mut().expect("a file").message_type[0].nested_type.push(entry);
            KindSchema::read(&set.encode_to_vec(), ThumbnailRequest::SERVICE)
        };
        assert!(with_key(Type::Int64).is_ok());
        for key in [Type::Double, Type::Bytes, Type::Enum] {
            assert!(matches!(with_key(key), Err(SchemaError::NotDescriptors(_))), "{key:?}");
        }
    }

    #[test]
    fn a_well_known_message_with_other_fields_is_refused_and_no_panic() {
        let with_fields = |change: fn(&mut DescriptorProto)| {
            let mut set = FileDescriptorSet::decode(WebhookRequest::DESCRIPTORS).expect("descriptors");
            let file =
                set.file.iter_mut().find(|file| file.name() == "google/protobuf/struct.proto").expect("imported");
            change(file.message_type.iter_mut().find(|message| message.name() == "Struct").expect("in it"));
            KindSchema::read(&set.encode_to_vec(), WebhookRequest::SERVICE)
        };
        assert!(with_fields(|_| ()).is_ok());
        let changes: [fn(&mut DescriptorProto); 4] = [
            |structure| structure.nested_type[0].field[0].set_type(Type::Int64),
            |structure| structure.nested_type[0].options = None,
            |structure| structure.field[0].number = Some(7),
            |structure| structure.field.clear(),
        ];
        for change in changes {
            let refused = with_fields(change).expect_err("another Struct");
            assert!(refused.to_string().contains("google.protobuf.Struct"), "{refused}");
        }
    }

    #[test]
    fn bytes_that_are_no_descriptor_set_are_an_error() {
        assert!(matches!(KindSchema::read(b"\xff\xff", "x.Y"), Err(SchemaError::NotDescriptors(_))));
        let missing = KindSchema::read(ThumbnailRequest::DESCRIPTORS, "x.Y");
        assert!(matches!(missing, Err(SchemaError::NoService(_))));
    }
}
