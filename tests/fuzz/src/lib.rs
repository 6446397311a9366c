//! What each target does with the bytes that it is given. A target is more than "no panic": each says what holds for
//! every input, and for every one that is taken.
//!
//! - [`delivery`]: a message on a task's subject, as a worker meets it.
//! - [`records`]: results, dead letters, events and envelopes, as the dispatcher reads them.
//! - [`names`]: ids, names, subjects and cursors. [`request`]: the query and the headers of a request.
//! - [`transcode`]: JSON to protobuf and back. [`kind`]: the contract of a kind, as a worker registers it.
//! - [`events`]: server-sent events. [`queues`]: the text of a queues file. [`ledger`]: the lines of a ledger.
//!
//! They are plain functions, so that a finding can be looked at in a debugger without libFuzzer.

pub mod delivery;
pub mod events;
pub mod kind;
pub mod ledger;
pub mod names;
pub mod queues;
pub mod records;
pub mod request;
pub mod transcode;

use prost_reflect::{DescriptorPool, MessageDescriptor};
use workfleet_dispatcher::{ApiError, Code};

/// A refusal is a mistake of whoever asks, and its words are bounded however long the input is.
///
/// # Panics
/// When it is not so.
pub fn is_a_fair_refusal(error: &ApiError) {
    assert!(error.code != Code::Internal && error.code.status() < 500, "{error}");
    assert!(!error.detail.is_empty(), "{}", error.code.name());
    assert!(error.detail.len() <= DETAIL_BYTES_MAX, "{} bytes of detail: {error}", error.detail.len());
    assert!(error.field.as_ref().is_none_or(|field| field.len() <= DETAIL_BYTES_MAX), "{error}");
}

/// More than anybody reads, and enough for a parser's own words.
const DETAIL_BYTES_MAX: usize = 4_096;

/// A message of ours.
///
/// # Panics
/// When there is none of this name.
#[must_use]
pub fn message(name: &str) -> MessageDescriptor {
    let pool = DescriptorPool::decode(workfleet_proto::v1::DESCRIPTORS).expect("descriptors");
    pool.get_message_by_name(name).expect("a message of ours")
}
