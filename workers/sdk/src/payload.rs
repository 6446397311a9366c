//! Brings a payload back that was too large to travel.
//!
//! It is fetched after the look and before the handler, in the attempt's slot and under its lease: fetched earlier, it
//! would be for tasks that have ended; fetched by the handler's first line, each author would have to think of it. Its
//! time is not the handler's, and a drain does not wait for it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use workfleet_link::blobs::{self, BlobError};
use workfleet_link::broker::Broker;
use workfleet_proto::blob::{BlobId, Owner};
use workfleet_proto::settlement::Lease as LeaseState;
use workfleet_proto::v1::Blob;

use crate::error::TaskError;
use crate::handling::Ran;
use crate::lease::Lease;
use crate::outcome::Outcome;
use crate::station::{Station, code};
use crate::task::Held;

/// How long a store is asked that does not answer. It costs a slot; giving up costs an attempt.
const TRY_TIME_MAX: Duration = Duration::from_secs(60);
/// How long all of it may take, however slowly the pieces come.
const FETCH_TIME_MAX: Duration = Duration::from_secs(600);
/// Wait between two tries.
const TRY_DELAY: Duration = Duration::from_millis(250);
/// How often a damaged payload is read: a replica that is behind shows one that is not whole.
const DAMAGED_TRIES_MAX: u32 = 3;

/// The payload, or what the attempt has come to without one.
pub(crate) async fn bring(station: &Station, held: &Held, lease: &Lease) -> Result<Bytes, Ran> {
    let failed = |error: TaskError| Ran::Ended(Outcome::Failed(error));
    let Some(claim) = &held.envelope.blob else { return Ok(held.envelope.payload.clone()) };
    let claimed = claimed(held).and_then(|blob| fits(claim, station).map(|()| blob));
    let blob = match claimed {
        Ok(Some(blob)) => blob,
        Ok(None) => return Ok(held.envelope.payload.clone()),
        Err(error) => return Err(failed(TaskError::permanent(error.code(), error))),
    };
    let worthwhile = || lease.state() == LeaseState::Held;
    let fetching = tokio::time::timeout(FETCH_TIME_MAX, fetch(&station.broker, &blob, claim, worthwhile));
    let Some(fetched) = station.drain.draining.run_until_cancelled(fetching).await else { return Err(Ran::Cut) };
    let late = || BlobError::Unanswered { reason: "it took too long".to_owned() };
    match fetched.unwrap_or_else(|_| Err(late())) {
        // Rule 6: what is older than its lease may be another's by now. Nothing is stored of an attempt that is cut then.
        Ok(_) if lease.state() == LeaseState::Lapsed => Err(Ran::Cut),
        Ok(payload) => {
            station.metrics.fetched(payload.len() as u64);
            Ok(payload)
        }
        Err(error) => {
            let error = match error {
                BlobError::Gone { .. } => TaskError::permanent(code::PAYLOAD_GONE, error),
                error => TaskError::retryable(code::PAYLOAD_UNAVAILABLE, error),
            };
            station.metrics.blob_failed(error.code());
            Err(failed(error))
        }
    }
}

/// Fetches, and tries again while it is `worthwhile`.
async fn fetch(
    broker: &Broker,
    blob: &BlobId,
    claim: &Blob,
    worthwhile: impl Fn() -> bool,
) -> Result<Bytes, BlobError> {
    let start = Instant::now();
    let mut damaged = 0;
    loop {
        let error = match blobs::fetch(broker, blob, claim).await {
            Ok(payload) => return Ok(payload),
            Err(error) => error,
        };
        let is_last = match &error {
            BlobError::Gone { .. } => true,
            BlobError::Damaged { .. } => {
                damaged += 1;
                damaged == DAMAGED_TRIES_MAX
            }
            _ => start.elapsed() >= TRY_TIME_MAX,
        };
        if is_last || !worthwhile() {
            return Err(error);
        }
        tracing::debug!(%blob, %error, "a payload is fetched again");
        tokio::time::sleep(TRY_DELAY).await;
    }
}

/// The blob that holds a task's payload; `None`: it is in the message.
pub(crate) fn claimed(held: &Held) -> Result<Option<BlobId>, ClaimError> {
    let Some(claim) = &held.envelope.blob else { return Ok(None) };
    if !held.envelope.payload.is_empty() {
        return Err(ClaimError::Twice);
    }
    if claim.sha256.len() != 32 {
        return Err(ClaimError::Digest);
    }
    let blob = BlobId::named(&held.id.queue(), &claim.name).map_err(|_| ClaimError::Name)?;
    if blob.owner() == Owner::Input(held.id.clone()) { Ok(Some(blob)) } else { Err(ClaimError::Foreign) }
}

fn fits(claim: &Blob, station: &Station) -> Result<(), ClaimError> {
    let bytes_max = station.payload_bytes_max();
    if claim.bytes > bytes_max { Err(ClaimError::TooLarge { bytes: claim.bytes, bytes_max }) } else { Ok(()) }
}

/// Why a claim check is not believed. Whoever may publish to the queue can write one, and must not read another task's
/// payload with it, nor have it deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClaimError {
    #[error("the claim check of the payload names no blob")]
    Name,
    #[error("the claim check of the payload names a blob that is not this task's payload")]
    Foreign,
    #[error("the claim check of the payload has no SHA-256")]
    Digest,
    #[error("the task has a payload, and a claim check for another one")]
    Twice,
    #[error("the payload has {bytes} bytes, and {bytes_max} is the limit of this queue")]
    TooLarge { bytes: u64, bytes_max: u64 },
}

impl ClaimError {
    fn code(self) -> &'static str {
        match self {
            Self::Name | Self::Foreign | Self::Digest | Self::Twice => code::INVALID_CLAIM_CHECK,
            Self::TooLarge { .. } => code::PAYLOAD_TOO_LARGE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ClaimError, claimed};
    use crate::task::tests::held;
    use bytes::Bytes;
    use workfleet_proto::blob::BlobId;
    use workfleet_proto::v1::Blob;

    #[test]
    fn a_claim_check_is_for_the_payload_of_this_very_task() {
        let mut held = held();
        assert_eq!(claimed(&held), Ok(None));
        let own = BlobId::input(&held.id, 7);
        let other = "mail_01h455vb4pex5vsknk084sn02r".parse().expect("an id");
        let claim = |name: &str| Some(Blob { name: name.to_owned(), bytes: 5, sha256: Bytes::from(vec![0; 32]) });
        held.envelope.blob = claim(own.name());
        assert_eq!(claimed(&held), Ok(Some(own.clone())));
        for (name, error) in [
            (BlobId::input(&other, 7).name(), ClaimError::Foreign),
            (BlobId::output(&held.id, 7).name(), ClaimError::Foreign),
            ("holiday.jpg", ClaimError::Foreign),
            ("in.x", ClaimError::Name),
            ("", ClaimError::Name),
            (&"x".repeat(1_000_000), ClaimError::Name),
        ] {
            held.envelope.blob = claim(name);
            assert_eq!(claimed(&held), Err(error));
        }
        held.envelope.blob = Some(Blob { sha256: Bytes::new(), ..claim(own.name()).expect("some") });
        assert_eq!(claimed(&held), Err(ClaimError::Digest));
        held.envelope.blob = claim(own.name());
        held.envelope.payload = Bytes::from_static(b"x");
        assert_eq!(claimed(&held), Err(ClaimError::Twice));
    }
}
