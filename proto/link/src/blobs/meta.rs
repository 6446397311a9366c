//! The record of a blob, in the form of a NATS object store.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use workfleet_proto::blob::BlobId;
use workfleet_proto::limits::BLOB_CHUNK_BYTES;

use super::BlobError;
use crate::read::StoredMessage;
use crate::time::{now_ms, rfc3339_ms};

/// What is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its id.
    pub blob: BlobId,
    /// Its size.
    pub bytes: u64,
    /// SHA-256 of the whole.
    pub sha256: [u8; 32],
    /// How many pieces it is stored in.
    pub chunks: u64,
    /// Which pieces: the last token of their subject.
    pub nuid: String,
    /// Where in the stream its first piece is; 0: unknown.
    pub first_sequence: u64,
    /// Where in the stream its record is.
    pub record_sequence: u64,
    /// When it was stored, milliseconds since the Unix epoch.
    pub stored_at_ms: i64,
}

/// The record as the broker's own tools read and write it.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    name: String,
    bucket: String,
    nuid: String,
    size: u64,
    chunks: u64,
    mtime: String,
    digest: String,
    #[serde(default)]
    options: Options,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Options {
    max_chunk_size: usize,
}

/// Where reading begins, so that nobody searches the stream for it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Metadata {
    #[serde(rename = "first-sequence", default, skip_serializing_if = "Option::is_none")]
    first_sequence: Option<String>,
}

impl BlobInfo {
    pub(super) fn new(blob: BlobId) -> Self {
        let nuid = String::new();
        let (sha256, stored_at_ms) = ([0; 32], now_ms());
        Self { blob, bytes: 0, sha256, chunks: 0, nuid, first_sequence: 0, record_sequence: 0, stored_at_ms }
    }

    /// Reads the record that is stored for `blob`.
    ///
    /// # Errors
    /// [`BlobError::Gone`] where it says that the blob was deleted, [`BlobError::Damaged`] where it cannot be read.
    pub fn read(blob: &BlobId, stored: &StoredMessage) -> Result<Self, BlobError> {
        let damaged = |reason: String| BlobError::Damaged { blob: blob.clone(), reason };
        let record: Record = serde_json::from_slice(&stored.payload).map_err(|error| damaged(error.to_string()))?;
        if record.deleted {
            return Err(BlobError::Gone { blob: blob.clone() });
        }
        let digest = record.digest.strip_prefix("SHA-256=").and_then(|text| BASE64_URL_SAFE.decode(text).ok());
        let sha256 = digest.and_then(|bytes| bytes.try_into().ok());
        let first = record.metadata.first_sequence.and_then(|text| text.parse().ok());
        Ok(Self {
            blob: blob.clone(),
            bytes: record.size,
            sha256: sha256.ok_or_else(|| damaged("its record has no SHA-256".to_owned()))?,
            chunks: record.chunks,
            nuid: record.nuid,
            first_sequence: first.unwrap_or(0),
            record_sequence: stored.sequence,
            stored_at_ms: stored.time_ms,
        })
    }

    /// The digest as text, 64 hexadecimal digits.
    #[must_use]
    pub fn sha256_hex(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

pub(super) fn record(store: &str, info: &BlobInfo) -> Bytes {
    let record = Record {
        name: info.blob.name().to_owned(),
        bucket: store.to_owned(),
        nuid: info.nuid.clone(),
        size: info.bytes,
        chunks: info.chunks,
        mtime: rfc3339_ms(info.stored_at_ms),
        digest: format!("SHA-256={}", BASE64_URL_SAFE.encode(info.sha256)),
        options: Options { max_chunk_size: BLOB_CHUNK_BYTES },
        metadata: Metadata { first_sequence: (info.first_sequence > 0).then(|| info.first_sequence.to_string()) },
        deleted: false,
    };
    // Text, numbers and nothing else: this cannot fail.
    serde_json::to_vec(&record).unwrap_or_default().into()
}

/// Subject of the record: `$O.<store>.M.<name in base64>`.
pub(super) fn subject(store: &str, name: &str) -> String {
    format!("$O.{store}.M.{}", BASE64_URL_SAFE.encode(name))
}

/// Subject of the pieces: `$O.<store>.C.<nuid>`.
pub(super) fn chunks(store: &str, nuid: &str) -> String {
    format!("$O.{store}.C.{nuid}")
}

pub(super) fn nuid() -> String {
    uuid::Builder::from_random_bytes(rand::random()).into_uuid().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::{BlobInfo, record};
    use crate::read::StoredMessage;
    use async_nats::HeaderMap;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let blob = "mail_holiday.jpg".parse().expect("an id");
        let info = BlobInfo {
            bytes: 5,
            sha256: [7; 32],
            chunks: 1,
            nuid: "n".to_owned(),
            first_sequence: 9,
            record_sequence: 1,
            ..BlobInfo::new(blob)
        };
        let (payload, subject, headers) = (record("IN_mail", &info), String::new(), HeaderMap::new());
        let stored = StoredMessage { subject, sequence: 1, time_ms: info.stored_at_ms, headers, payload };
        assert_eq!(BlobInfo::read(&info.blob, &stored), Ok(info));
    }
}
