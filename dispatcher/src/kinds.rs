//! What is known of queues: their settings and their kinds, read from `QUEUES` and `KINDS`.
//!
//! A queue is looked for when it is asked for, and again after [`KIND_FRESH`]: a kind that appears, or changes, while
//! the dispatcher runs is there two seconds later without a restart. A watch on the bucket would be quicker by those
//! two seconds, and a watch that dies silently would be a dispatcher that knows no new kind until somebody wonders.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use prost_reflect::MessageDescriptor;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use workfleet_link::broker::Broker;
use workfleet_link::kinds::{self, KindError};
use workfleet_link::read;
use workfleet_proto::id::QueueName;
use workfleet_proto::names::Lane;
use workfleet_proto::schema::KindSchema;
use workfleet_proto::settings;
use workfleet_proto::v1::{KindRecord, QueueSettings};

use crate::ask;
use crate::error::{ApiError, Code, unavailable};
use crate::limits::{
    KIND_FRESH, LOOKUP_ANSWER_TIMEOUT, LOOKUP_TIMEOUT, LOOKUPS_MAX, QUEUES_LISTED_MAX, SCHEMAS_MAX, SILENT_FRESH,
    UNKNOWN_FRESH, UNKNOWN_MAX,
};
use crate::transcode;

/// A queue as it was a moment ago.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    pub(crate) name: QueueName,
    pub(crate) settings: QueueSettings,
    pub(crate) lanes: Vec<Lane>,
    /// Its contract; absent until somebody registers one.
    pub(crate) kind: Option<Kind>,
    read_at: Instant,
}

/// A queue's contract.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) record: KindRecord,
    pub(crate) schema: KindSchema,
}

impl Queue {
    /// Largest payload, and largest output, in bytes.
    pub(crate) fn payload_bytes_max(&self) -> usize {
        usize::try_from(self.settings.payload_bytes_max).unwrap_or(0)
    }

    /// The contract, without which nothing can be submitted.
    pub(crate) fn kind(&self) -> Result<&Kind, ApiError> {
        self.kind.as_ref().ok_or_else(|| {
            let detail = format!(
                "the queue {} has no kind yet: name its .proto file in the queues file, or start a worker",
                self.name
            );
            ApiError::new(Code::UnknownQueue, detail)
        })
    }
}

/// What a schema was made of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct SchemaKey {
    hash: String,
    service: String,
}

/// Every queue that was asked for lately.
pub(crate) struct Kinds {
    broker: Broker,
    /// Written by look-ups, never emptied: `provision` alone makes queues, so there are few.
    known: Mutex<HashMap<QueueName, Arc<Queue>>>,
    /// Names that were not there a moment ago, so that a client in a loop does not become a loop of reads.
    unknown: Mutex<HashMap<QueueName, Instant>>,
    /// Names that the broker gave no answer about a moment ago, or all who wait for it would find out one after the other.
    silent: Mutex<HashMap<QueueName, (Instant, ApiError)>>,
    /// Bytes under a hash never change. One file may have the services of several queues, so the hash alone does not say
    /// which messages are meant.
    schemas: Mutex<HashMap<SchemaKey, KindSchema>>,
    /// Names of all queues, for answers that list what is known.
    listed: Mutex<Option<(Instant, Vec<QueueName>)>>,
    lookups: Semaphore,
}

impl Kinds {
    pub(crate) fn new(broker: Broker) -> Self {
        Self {
            broker,
            known: Mutex::default(),
            unknown: Mutex::default(),
            silent: Mutex::default(),
            schemas: Mutex::default(),
            listed: Mutex::default(),
            lookups: Semaphore::new(LOOKUPS_MAX),
        }
    }

    /// The queue of this name.
    ///
    /// # Errors
    /// When there is none, with the names of those there are; when the broker does not answer.
    pub(crate) async fn queue(&self, name: &str) -> Result<Arc<Queue>, ApiError> {
        let Ok(name) = name.parse::<QueueName>() else { return Err(self.unknown_queue(name).await) };
        if let Some(queue) = self.fresh(&name) {
            return Ok(queue);
        }
        // The wait for a turn counts too: behind readers whom the broker does not answer it would have no end.
        let found = tokio::time::timeout(LOOKUP_TIMEOUT, self.look_up(&name)).await;
        found.unwrap_or_else(|_| self.as_it_was(&name, silent(&name)))
    }

    async fn look_up(&self, name: &QueueName) -> Result<Arc<Queue>, ApiError> {
        let _turn = self.lookups.acquire().await.map_err(|_| ApiError::new(Code::Internal, "closed"))?;
        // Most of those who waited for their turn find what another has read meanwhile.
        if let Some(queue) = self.fresh(name) {
            return Ok(queue);
        }
        if lock(&self.unknown).get(name).is_some_and(|since| since.elapsed() < UNKNOWN_FRESH) {
            return Err(self.unknown_queue(name.as_str()).await);
        }
        let silent_lately = lock(&self.silent).get(name).filter(|(since, _)| since.elapsed() < SILENT_FRESH).cloned();
        if let Some((_, error)) = silent_lately {
            return self.as_it_was(name, error);
        }
        let read = tokio::time::timeout(LOOKUP_ANSWER_TIMEOUT, self.read(name)).await;
        match read.unwrap_or_else(|_| Err(silent(name))) {
            Ok(Some(queue)) => {
                let queue = Arc::new(queue);
                lock(&self.known).insert(name.clone(), Arc::clone(&queue));
                Ok(queue)
            }
            Ok(None) => {
                lock(&self.known).remove(name);
                remember(&self.unknown, name, Instant::now());
                Err(self.unknown_queue(name.as_str()).await)
            }
            Err(error) => {
                remember(&self.silent, name, (Instant::now(), error.clone()));
                self.as_it_was(name, error)
            }
        }
    }

    /// What was right two seconds ago is better than nothing.
    fn as_it_was(&self, name: &QueueName, error: ApiError) -> Result<Arc<Queue>, ApiError> {
        lock(&self.known).get(name).cloned().ok_or(error)
    }

    fn fresh(&self, name: &QueueName) -> Option<Arc<Queue>> {
        lock(&self.known).get(name).filter(|queue| queue.read_at.elapsed() < KIND_FRESH).cloned()
    }

    async fn read(&self, name: &QueueName) -> Result<Option<Queue>, ApiError> {
        let Some(settings) = read::queue_settings(&self.broker, name).await? else { return Ok(None) };
        let kind = match kinds::record(&self.broker, name).await? {
            Some(record) => {
                let schema = self.schema(name, &record.service, &record.schema).await?;
                schema.map(|schema| Kind { record, schema })
            }
            None => None,
        };
        let lanes = settings::lanes(&settings);
        Ok(Some(Queue { name: name.clone(), settings, lanes, kind, read_at: Instant::now() }))
    }

    /// The schema of a service under a hash.
    async fn schema(&self, queue: &QueueName, service: &str, hash: &str) -> Result<Option<KindSchema>, ApiError> {
        let key = SchemaKey { hash: hash.to_owned(), service: service.to_owned() };
        if let Some(schema) = lock(&self.schemas).get(&key) {
            return Ok(Some(schema.clone()));
        }
        let Some(descriptors) = kinds::schema(&self.broker, queue, hash).await? else { return Ok(None) };
        let schema = KindSchema::read(&descriptors, service).map_err(KindError::from)?;
        let mut schemas = lock(&self.schemas);
        if schemas.len() >= SCHEMAS_MAX {
            schemas.clear();
        }
        schemas.insert(key, schema.clone());
        Ok(Some(schema))
    }

    /// A stored output as JSON, read with the schema it was written with; nothing where that is not possible.
    pub(crate) async fn output_json(&self, queue: &Queue, hash: &str, output: &Bytes) -> Option<Box<RawValue>> {
        self.json(queue, hash, "output", output, |schema| &schema.output).await
    }

    /// The same for a stored payload.
    pub(crate) async fn input_json(&self, queue: &Queue, hash: &str, payload: &Bytes) -> Option<Box<RawValue>> {
        self.json(queue, hash, "payload", payload, |schema| &schema.input).await
    }

    async fn json(
        &self,
        queue: &Queue,
        hash: &str,
        what: &str,
        bytes: &Bytes,
        message: impl Fn(&KindSchema) -> &MessageDescriptor,
    ) -> Option<Box<RawValue>> {
        let kind = queue.kind.as_ref()?;
        let schema = match self.schema(&queue.name, &kind.record.service, hash).await {
            Ok(Some(schema)) => schema,
            Ok(None) => kind.schema.clone(),
            Err(error) => {
                tracing::warn!(queue = %queue.name, hash, what, %error, "its schema cannot be read");
                kind.schema.clone()
            }
        };
        match transcode::to_json(bytes, message(&schema)) {
            Ok(json) => Some(json),
            Err(error) => {
                tracing::warn!(queue = %queue.name, hash, what, %error, "it cannot be shown as JSON");
                None
            }
        }
    }

    /// Names of all queues.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub(crate) async fn names(&self) -> Result<Vec<QueueName>, ApiError> {
        let bucket = self.broker.names.queues_bucket();
        let prefix = format!("$KV.{bucket}.");
        let keys =
            ask::subjects(&self.broker, &format!("KV_{bucket}"), &format!("{prefix}>"), QUEUES_LISTED_MAX).await?;
        let names: Vec<QueueName> = keys.iter().filter_map(|key| key.strip_prefix(&prefix)?.parse().ok()).collect();
        *lock(&self.listed) = Some((Instant::now(), names.clone()));
        Ok(names)
    }

    async fn unknown_queue(&self, name: &str) -> ApiError {
        let listed = lock(&self.listed).clone().filter(|(since, _)| since.elapsed() < UNKNOWN_FRESH);
        let known = match listed {
            Some((_, names)) => names,
            None => self.names().await.unwrap_or_default(),
        };
        let shown: String = name.chars().take(80).collect();
        ApiError::new(Code::UnknownQueue, format!("there is no queue {shown:?}"))
            .known(known.iter().map(ToString::to_string).collect())
    }
}

/// Names are made up by strangers, so there are never many of them.
fn remember<T>(names: &Mutex<HashMap<QueueName, T>>, name: &QueueName, value: T) {
    let mut names = lock(names);
    if names.len() >= UNKNOWN_MAX {
        names.clear();
    }
    names.insert(name.clone(), value);
}

fn silent(name: &QueueName) -> ApiError {
    unavailable(format!("the broker does not say what the queue {name} is; nothing was accepted"))
}

/// Nothing under these locks can be left half done, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(any(test, feature = "fuzz"))]
impl Queue {
    /// A queue with default settings, for tests of what is pure.
    pub(crate) fn without_kind(name: QueueName) -> Self {
        let settings = settings::defaults(&name);
        Self { lanes: settings::lanes(&settings), settings, name, kind: None, read_at: Instant::now() }
    }
}
