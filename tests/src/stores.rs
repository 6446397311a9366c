//! What lies in a queue's object stores, past the dispatcher.

use std::collections::{BTreeMap, BTreeSet};

use async_nats::jetstream;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use futures::TryStreamExt as _;
use serde_json::Value;

/// One object store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// SHA-256 as the record has it, for each blob by its name.
    pub blobs: BTreeMap<String, String>,
    /// Pieces that no record names.
    pub orphans: BTreeSet<String>,
}

/// Reads the store `IN_<queue>` or `OUT_<queue>`.
///
/// # Panics
/// When the broker is down, or a record cannot be read.
pub async fn read(jetstream: &jetstream::Context, store: &str) -> Stored {
    let stream = jetstream.get_stream(format!("OBJ_{store}")).await.expect("the store is there");
    let records = subjects(&stream, &format!("$O.{store}.M.>")).await;
    let chunks = subjects(&stream, &format!("$O.{store}.C.>")).await;
    let mut stored = Stored::default();
    let mut named = BTreeSet::new();
    for subject in records {
        let Ok(message) = stream.get_last_raw_message_by_subject(&subject).await else { continue };
        let record: Value = serde_json::from_slice(&message.payload).expect("a record is JSON");
        let name = record["name"].as_str().expect("a record has a name").to_owned();
        assert!(subject.ends_with(&BASE64_URL_SAFE.encode(&name)), "{subject} is not that of {name}");
        let digest = record["digest"].as_str().and_then(|digest| digest.strip_prefix("SHA-256="));
        stored.blobs.insert(name, digest.expect("a record has a digest").to_owned());
        named.insert(record["nuid"].as_str().expect("a record names its pieces").to_owned());
    }
    let tokens = chunks.iter().filter_map(|subject| subject.rsplit('.').next());
    stored.orphans = tokens.filter(|nuid| !named.contains(*nuid)).map(ToOwned::to_owned).collect();
    stored
}

async fn subjects(stream: &jetstream::stream::Stream, filter: &str) -> Vec<String> {
    let counts: Vec<(String, usize)> =
        stream.info_with_subjects(filter).await.expect("the broker answers").try_collect().await.expect("subjects");
    counts.into_iter().map(|(subject, _)| subject).collect()
}
