//! Ids, names and cursors: parts of subjects, so that a name which is more than a name would reach what it must not.

use std::fmt::Display;
use std::str::FromStr;

use workfleet_dispatcher::Cursor;
use workfleet_dispatcher::ListTasks;
use workfleet_dispatcher::fuzz::list;
use workfleet_proto::blob::{BlobId, Owner, Store};
use workfleet_proto::id::{ChildKey, QueueName, TaskId};
use workfleet_proto::limits::{BLOB_NAME_LENGTH_MAX, QUEUE_NAME_LENGTH_MAX};
use workfleet_proto::names::{Lane, Names, Prefix};

use crate::is_a_fair_refusal;

/// Reads the text as each of the names.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(queue) = in_one_form::<QueueName>(text) {
        assert!(text.len() <= QUEUE_NAME_LENGTH_MAX);
        queue_names(&queue);
        ids_of(&queue, text);
    }
    if let Some(id) = in_one_form::<TaskId>(text) {
        task_names(&id);
    }
    if let Some(blob) = in_one_form::<BlobId>(text) {
        blob_names(&blob);
    }
    if let Some(lane) = in_one_form::<Lane>(text) {
        is_one_token(&lane.to_string());
    }
    if let Ok(prefix) = text.parse::<Prefix>() {
        is_one_token(text);
        assert!(Names::new(prefix).task_everywhere().starts_with(text));
    }
    if let Ok(cursor) = text.parse::<Cursor>() {
        assert_eq!(cursor.to_string().parse(), Ok(cursor), "{text:?}");
    }
    let page = ListTasks { queue: "mail".to_owned(), cursor: Some(text.to_owned()), ..ListTasks::default() };
    if let Err(error) = list(&page) {
        is_a_fair_refusal(&error);
    }
}

/// Two spellings of one name would be two things.
fn in_one_form<N: FromStr + Display>(text: &str) -> Option<N> {
    let name = text.parse::<N>().ok()?;
    assert_eq!(name.to_string(), text, "another spelling");
    Some(name)
}

/// No wildcard, no separator, nothing that ends a line of the protocol.
fn is_one_token(text: &str) {
    assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()), "{text:?}");
    assert!(!text.contains(['.', '*', '>', '$']), "{text:?}");
}

fn is_a_subject(subject: &str, tokens: usize) {
    assert_eq!(subject.split('.').inspect(|token| is_one_token(token)).count(), tokens, "{subject:?}");
}

fn queue_names(queue: &QueueName) {
    is_one_token(queue.as_str());
    let names = Names::default();
    for subject in [names.submit(queue), names.call(queue), names.cancel(queue), names.operation(queue)] {
        is_a_subject(&subject, 3);
    }
    let streams = [
        names.tasks_stream(queue),
        names.delay_stream(queue),
        names.results_stream(queue),
        names.events_stream(queue),
        names.dead_stream(queue),
        names.accepted_stream(queue),
        names.object_store(Store::In, queue),
    ];
    streams.iter().for_each(|stream| is_one_token(stream));
}

/// Every id that is made for a queue can be read, and is that queue's.
fn ids_of(queue: &QueueName, text: &str) {
    let keyed = TaskId::keyed(queue, text, None);
    let ids = [
        TaskId::keyed(queue, text, Some(text)),
        TaskId::child(queue, &keyed, 1, &ChildKey::Ordinal(1), None),
        TaskId::child(queue, &keyed, 1, &ChildKey::Name(text.to_owned()), None),
        TaskId::new(queue, u64::MAX, [255; 10], None),
        keyed,
    ];
    for id in ids {
        assert_eq!(id.to_string().parse().as_ref(), Ok(&id));
        assert_eq!(id.queue(), *queue);
    }
}

fn task_names(id: &TaskId) {
    is_one_token(id.as_str());
    is_one_token(id.bucket());
    let names = Names::default();
    for subject in [names.key(id), names.done(id), names.event(id), names.dead(id), names.accepted(id)] {
        is_a_subject(&subject, 4);
        assert!(subject.ends_with(id.as_str()));
    }
    is_a_subject(&names.task(id, Lane::DEFAULT), 6);
    is_a_subject(&names.result(id), 5);
    for blob in [BlobId::input(id, 7), BlobId::output(id, u128::MAX), BlobId::kept(id, 0)] {
        assert_eq!(blob.to_string().parse().as_ref(), Ok(&blob));
        assert!(matches!(blob.owner(), Owner::Input(owner) | Owner::Output(owner) if owner == *id));
    }
}

fn blob_names(blob: &BlobId) {
    assert!(blob.name().len() <= BLOB_NAME_LENGTH_MAX);
    assert!(!blob.name().contains(['*', '>', '/', ' ', '\n']) && !blob.name().starts_with('.'), "{blob}");
    match blob.owner() {
        Owner::Caller => assert!(blob.store() == Store::In && !blob.is_kept()),
        Owner::Input(task) => assert!(task.queue() == *blob.queue() && blob.store() == Store::In),
        Owner::Output(task) => assert!(task.queue() == *blob.queue() && blob.store() == Store::Out),
    }
}
