//! What workers have stored, as the dispatcher shows it. A worker's key writes results and events, so these bytes are no
//! more to be trusted than a request.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::MessageDescriptor;
use workfleet_dispatcher::fuzz::{check, sha256, to_json, views};
use workfleet_dispatcher::{Payload, TaskView};
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::{DeadLetter, KeyRecord, Result, Task};

use crate::message;

const NOW_MS: i64 = 1_700_000_000_000;

static LETTER: LazyLock<MessageDescriptor> = LazyLock::new(|| message("workfleet.v1.DeadLetter"));

/// Reads the bytes as each of the records.
pub fn run(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let id: TaskId = "mail_01h455vb4pex5vsknk084sn02q".parse().expect("an id");
    for view in views(&id, NOW_MS, &bytes) {
        let text = serde_json::to_string(&view).expect("a view is plain data");
        let read: TaskView = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(serde_json::to_string(&read).expect("plain data"), text, "read as something else");
        let task = Task::from(view);
        assert_eq!(Task::decode(task.encode_to_vec().as_slice()).as_ref(), Ok(&task));
    }
    same_again::<Result>(&bytes);
    same_again::<DeadLetter>(&bytes);
    same_again::<KeyRecord>(&bytes);
    // As a payload would be shown, since dead letters have those.
    if let Ok(json) = to_json(&bytes, &LETTER) {
        let payload = Payload::Json(json.clone().into());
        let (again, digest) = check(payload, &LETTER, usize::MAX).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!(sha256(&again, &LETTER), Some(digest));
    }
}

/// What can be read can be written and read again.
fn same_again<M: prost::Message + Default + PartialEq>(bytes: &Bytes) {
    if let Ok(read) = M::decode(bytes.clone()) {
        assert!(M::decode(read.encode_to_vec().as_slice()).is_ok_and(|again| again == read));
    }
}
