//! The contracts in the bucket `KINDS`: which messages a queue takes and gives, and every schema by its hash.
//!
//! `provision` registers the kinds it knows through [`register`], a worker its own when it starts through [`join`]. An
//! incompatible change is refused in either way, with the reason.
//!
//! Written by plain publishes, not by the client's key-value store: that asks for the whole bucket's state first, which a
//! worker need not be allowed to.

use bytes::Bytes;
use prost::Message as _;
use workfleet_proto::id::QueueName;
use workfleet_proto::limits::DESCRIPTORS_BYTES_MAX;
use workfleet_proto::schema::{KindSchema, SchemaError, SchemaHash};
use workfleet_proto::v1::KindRecord;

use crate::broker::Broker;
use crate::pipeline::{Publish, PublishError, send_next};
use crate::read::{self, ReadError};

/// How often a registration is tried that meets another one.
const TRIES_MAX: usize = 10;

/// Makes `descriptors` the schema that new tasks of `queue` are written with. Registering the same again changes
/// nothing.
///
/// # Errors
/// When it is too large, waiting tasks could not be read with it, the queue has another service of the same descriptor set, or
/// the bucket is not there.
pub async fn register(
    broker: &Broker,
    queue: &QueueName,
    service: &str,
    descriptors: &[u8],
) -> Result<SchemaHash, KindError> {
    let schema = KindSchema::read(descriptors, service)?;
    let names = &broker.names;
    for _ in 0..TRIES_MAX {
        let stored = read::key_value(broker, &names.kinds_bucket(), &names.kind_key(queue)).await?;
        let known = stored.as_ref().map(|entry| decode(queue, entry.payload.clone())).transpose()?;
        if let Some(known) = known.as_ref().filter(|known| known.schema == schema.hash.as_str()) {
            is_of_service(known, service)?;
            return Ok(schema.hash);
        }
        // What was registered before there was a bound stays in use.
        if descriptors.len() > DESCRIPTORS_BYTES_MAX {
            return Err(SchemaError::TooLarge { bytes: descriptors.len() }.into());
        }
        if let Some(known) = &known {
            check(broker, queue, known, &schema).await?;
        }
        // The bytes first: a record must never name a schema that is not there.
        let key = names.schema_key(queue, schema.hash.as_str());
        put(broker, &key, Bytes::copy_from_slice(descriptors), None).await.map_err(|error| KindError::store(&error))?;
        let record = replace(queue, service, known, &schema).encode_to_vec();
        let revision = stored.map_or(0, |entry| entry.sequence);
        match put(broker, &names.kind_key(queue), record.into(), Some(revision)).await {
            Ok(()) => return Ok(schema.hash),
            Err(PublishError::Lost | PublishError::InFlight) => {}
            Err(error) => return Err(KindError::store(&error)),
        }
    }
    Err(KindError::Store("others change the kind all the time".to_owned()))
}

/// Makes `descriptors` known to `queue`, as a worker does that starts. A schema that was never there becomes the one that new
/// tasks are written with; one that was there before another leaves that one in its place.
///
/// In a rolling deploy workers of the older version start too: one has crashed, or an autoscaler adds some. Were the last one
/// to start the one that decides, a field that callers already use would be refused, until a newer worker starts. So it is
/// `provision`, by [`register`], that goes back to an older schema.
///
/// # Errors
/// See [`register`]; also when the schema that tasks are written with now means something else by what both have.
pub async fn join(
    broker: &Broker,
    queue: &QueueName,
    service: &str,
    descriptors: &[u8],
) -> Result<SchemaHash, KindError> {
    let own = KindSchema::read(descriptors, service)?;
    let known = record(broker, queue).await?;
    let Some(known) = known.filter(|known| is_older(&known.schemas, own.hash.as_str(), &known.schema)) else {
        return register(broker, queue, service, descriptors).await;
    };
    if let Some(current) = schema(broker, queue, &known.schema).await? {
        KindSchema::read(&current, &known.service)?.check_replaces(&own)?;
    }
    Ok(own.hash)
}

/// Whether the first of two schemas was replaced by the second, or by others and then by the second: both are listed, in this
/// order. Then whoever has the second may run what was written with the first.
#[must_use]
pub fn is_older(schemas: &[String], hash: &str, than: &str) -> bool {
    let place = |hash: &str| schemas.iter().position(|listed| listed == hash);
    matches!((place(hash), place(than)), (Some(first), Some(second)) if first < second)
}

/// The contract of a queue; `None`: nobody has registered one.
///
/// # Errors
/// When the bucket is not there or does not answer.
pub async fn record(broker: &Broker, queue: &QueueName) -> Result<Option<KindRecord>, KindError> {
    let stored = read::key_value(broker, &broker.names.kinds_bucket(), &broker.names.kind_key(queue)).await?;
    stored.map(|entry| decode(queue, entry.payload)).transpose()
}

/// The queue's descriptor set with this hash.
///
/// # Errors
/// When the bucket is not there or does not answer, or what is there has another hash.
pub async fn schema(broker: &Broker, queue: &QueueName, hash: &str) -> Result<Option<Bytes>, KindError> {
    // A hash comes from headers that anybody may have written; what is no hash is no key.
    if hash.is_empty() || !hash.bytes().all(|c| c.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let (names, bucket) = (&broker.names, broker.names.kinds_bucket());
    let stored = match read::key_value(broker, &bucket, &names.schema_key(queue, hash)).await? {
        Some(stored) => Some(stored),
        None => read::key_value(broker, &bucket, &names.schema_key_shared(hash)).await?,
    };
    match stored {
        Some(stored) if SchemaHash::of(&stored.payload).as_str() != hash => {
            Err(ReadError::Garbled { place: stored.subject, reason: "its hash is another".to_owned() }.into())
        }
        stored => Ok(stored.map(|entry| entry.payload)),
    }
}

/// Writes a key; with a revision, only if that is the last one.
async fn put(broker: &Broker, key: &str, value: Bytes, revision: Option<u64>) -> Result<(), PublishError> {
    let subject = format!("$KV.{}.{key}", broker.names.kinds_bucket());
    let message = Publish { expected_sequence: revision, ..Publish::new(subject, value) };
    send_next(&broker.jetstream, message).await?.await.map(drop)
}

async fn check(broker: &Broker, queue: &QueueName, known: &KindRecord, newer: &KindSchema) -> Result<(), KindError> {
    let Some(descriptors) = schema(broker, queue, &known.schema).await? else {
        return Err(KindError::Store(format!("the schema {} is missing", known.schema)));
    };
    newer.check_replaces(&KindSchema::read(&descriptors, &known.service)?)?;
    Ok(())
}

fn is_of_service(known: &KindRecord, service: &str) -> Result<(), SchemaError> {
    if known.service == service {
        return Ok(());
    }
    Err(SchemaError::OtherService { registered: known.service.clone(), service: service.to_owned() })
}

fn replace(queue: &QueueName, service: &str, known: Option<KindRecord>, schema: &KindSchema) -> KindRecord {
    let mut schemas = known.map(|known| known.schemas).unwrap_or_default();
    schemas.retain(|hash| hash != schema.hash.as_str());
    schemas.push(schema.hash.as_str().to_owned());
    KindRecord {
        queue: queue.to_string(),
        service: service.to_owned(),
        input: schema.input.full_name().to_owned(),
        output: schema.output.full_name().to_owned(),
        schema: schema.hash.as_str().to_owned(),
        schemas,
    }
}

fn decode(queue: &QueueName, bytes: Bytes) -> Result<KindRecord, KindError> {
    KindRecord::decode(bytes)
        .map_err(|error| ReadError::Garbled { place: format!("kind {queue}"), reason: error.to_string() }.into())
}

/// Why a kind is not registered, or not known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KindError {
    /// The schema is no good, or not compatible.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The bucket cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The bucket cannot be written.
    #[error("the bucket of kinds cannot be written: {0}")]
    Store(String),
}

impl KindError {
    fn store(error: &impl std::fmt::Display) -> Self {
        Self::Store(error.to_string())
    }
}
