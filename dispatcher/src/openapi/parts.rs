//! What several calls share: schemas, parameters, headers and refusals.

use serde_json::{Value, json};
use workfleet_proto::limits::{LABELS_MAX, ORDERING_KEY_BYTES_MAX};

use super::{Members, reference};
use crate::error::Code;
use crate::limits::{LIST_TASKS_DEFAULT, LIST_TASKS_MAX, REASON_CHARS_MAX};

/// What the path names: with patterns, a generated client notices a wrong id before it asks, and so does who makes up
/// requests from the document (`make api-test`).
const QUEUE_PATTERN: &str = "^[a-z][a-z0-9-]{0,62}$";
const TASK_ID_PATTERN: &str = "^[a-z][a-z0-9-]{0,62}_[0-7][0-9a-hjkmnp-tv-z]{25}$";
const BLOB_ID_PATTERN: &str = "^[a-z][a-z0-9-]{0,62}_[A-Za-z0-9][A-Za-z0-9._-]{0,127}$";

/// How a label is written in a query: its key, a colon, its value.
const LABEL_PATTERN: &str = "^[a-z][a-z0-9_.-]{0,62}:.+$";

fn members(value: Value) -> Members {
    match value {
        Value::Object(members) => members,
        _ => Members::new(),
    }
}

/// The fleet's own documents.
pub(super) fn schemas() -> Members {
    let mut schemas = members(json!({
        "Task": task(),
        "TaskList": object(json!({
            "tasks": { "type": "array", "items": reference("schemas", "Task") },
            "next": { "type": ["string", "null"], "description": "`cursor` of the next page; null: there is none." },
        })),
        "Progress": object(json!({
            "percent": { "type": "integer", "minimum": 0, "maximum": 100 },
            "message": { "type": "string" },
        })),
        "Failure": object(json!({
            "code": { "type": "string", "description": "Stable, for programs." },
            "message": { "type": "string", "description": "For people." },
            "attempts": { "type": "array", "items": reference("schemas", "Attempt"), "description": "The last ten." },
        })),
        "Attempt": object(json!({
            "attempt": { "type": "integer", "minimum": 1 },
            "started_at": time(),
            "ended_at": time(),
            "worker": { "type": ["string", "null"] },
            "code": { "type": "string" },
            "message": { "type": "string" },
        })),
        "CallAnswer": object(json!({
            "output": { "type": "object", "description": "The kind's output." },
            "worker": { "type": "string" },
            "delivery": { "const": "at_most_once" },
        })),
        "BlobInfo": object(json!({
            "id": { "type": "string", "description": "`<queue>_<name>`" },
            "bytes": { "type": "integer", "minimum": 0 },
            "sha256": { "type": "string", "pattern": "^[0-9a-f]{64}$" },
            "expires_at": { "type": "string", "format": "date-time", "description": "When it may be swept." },
        })),
        "QueueList": object(json!({
            "queues": { "type": "array", "items": reference("schemas", "Queue") },
            "unreadable": {
                "type": "array",
                "items": { "type": "string" },
                "description": "Names of those that cannot be looked at now; left out when there are none.",
            },
        })),
        "Scale": object(json!({
            "value": count("What an autoscaler divides by slots."),
            "waiting": count("Tasks that wait for a slot."),
            "running": count("Tasks that a handler holds."),
            "due": count("Tasks whose time has come and that are not yet in the queue."),
        })),
    }));
    schemas.insert("State".to_owned(), json!({ "type": "string", "enum": states() }));
    schemas.insert("Queue".to_owned(), queue());
    schemas.extend(super::dead::schemas());
    schemas.insert("Worker".to_owned(), worker());
    schemas.insert("Problem".to_owned(), problem());
    schemas
}

#[allow(clippy::needless_pass_by_value, reason = "every caller makes its properties in place")]
fn object(properties: Value) -> Value {
    json!({ "type": "object", "properties": properties })
}

fn time() -> Value {
    json!({ "type": ["string", "null"], "format": "date-time" })
}

fn time_of(about: &str) -> Value {
    let mut time = time();
    time["description"] = Value::from(about);
    time
}

fn count(about: &str) -> Value {
    json!({ "type": "integer", "minimum": 0, "description": about })
}

#[allow(clippy::needless_pass_by_value, reason = "every caller makes its schema in place")]
fn or_null(schema: Value) -> Value {
    json!({ "anyOf": [schema, { "type": "null" }] })
}

fn text_or_null() -> Value {
    json!({ "type": ["string", "null"] })
}

fn states() -> Vec<&'static str> {
    workfleet_proto::lifecycle::STATES.into_iter().map(workfleet_proto::v1::State::word).collect()
}

fn task() -> Value {
    json!({
        "type": "object",
        "description": "Where a task is. What does not apply is null.",
        "required": ["id", "queue", "state"],
        "properties": {
            "id": { "type": "string", "description": "`<queue>_<26 characters>`" },
            "queue": { "type": "string" },
            "state": reference("schemas", "State"),
            "attempt": count("The last attempt that a worker began; 0: none has."),
            "attempts_max": { "type": "integer", "minimum": 0 },
            "priority": text_or_null(),
            "submitted_at": time_of("When it was accepted."),
            "not_before": time_of("It does not start before: the submit's delay or time, or that of the next attempt."),
            "started_at": time_of("When the last attempt began; null: none has."),
            "ended_at": time_of("When its end was recorded; null: it has not ended."),
            "deadline": time_of("It has to have ended by then, or it expires; null: it has no deadline."),
            "progress": or_null(reference("schemas", "Progress")),
            "output": { "type": ["object", "null"], "description": "The kind's output, once completed; null where it has more than 256 KiB." },
            "output_blob": { "type": ["string", "null"], "description": "Where the output is then: the id of a blob." },
            "failure": or_null(reference("schemas", "Failure")),
            "trace_id": text_or_null(),
            "parent_id": text_or_null(),
            "children": { "type": "array", "items": { "type": "string" } },
            "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            "ordering_key": text_or_null(),
            "tenant": text_or_null(),
        },
    })
}

/// A task of one kind: its output has a type.
pub(super) fn task_of_kind(output: &str) -> Value {
    json!({ "allOf": [
        reference("schemas", "Task"),
        object(json!({ "output": or_null(reference("schemas", output)) })),
    ] })
}

/// The answer to a direct call of one kind.
pub(super) fn answer_of_kind(output: &str) -> Value {
    json!({ "allOf": [
        reference("schemas", "CallAnswer"),
        object(json!({ "output": reference("schemas", output) })),
    ] })
}

fn queue() -> Value {
    json!({
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": { "type": "string" },
            "paused": { "type": "boolean" },
            "waiting": count("Tasks that wait for a slot."),
            "running": count("Tasks that a handler holds."),
            "scheduled": count("Tasks with a time before which they do not start, and retries."),
            "dead": count("Dead letters."),
            "oldest_waiting_ms": { "type": ["integer", "null"], "minimum": 0 },
            "workers": { "type": "array", "items": reference("schemas", "Worker") },
            "kind": or_null(object(json!({ "input": { "type": "string" }, "output": { "type": "string" } }))),
        },
    })
}

fn worker() -> Value {
    object(json!({
        "id": { "type": "string" },
        "host": { "type": "string" },
        "version": { "type": "string" },
        "slots": count("How many tasks it runs at once."),
        "busy": count("How many it runs now."),
        "started_at": time(),
    }))
}

fn problem() -> Value {
    let codes: Vec<&str> = Code::all().map(Code::name).collect();
    json!({
        "type": "object",
        "description": "Why a request was refused (RFC 9457). Members that do not apply are left out.",
        "required": ["type", "title", "status", "detail", "code"],
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string", "description": "For people." },
            "code": { "type": "string", "enum": codes, "description": "For programs; never changes." },
            "known": { "type": "array", "items": { "type": "string" }, "description": "What would have been right." },
            "field": { "type": "string" },
            "line": { "type": "integer" },
            "retry_after_ms": { "type": "integer", "minimum": 0 },
            "task_id": { "type": "string", "description": "The task that may have been stored nevertheless." },
            "failure": reference("schemas", "Failure"),
        },
    })
}

/// Parameters, by the name under which operations refer to them.
pub(super) fn parameters() -> Value {
    let query = |name: &str, schema: Value, about: &str| json!({ "name": name, "in": "query", "schema": schema, "description": about });
    let header = |name: &str, about: &str| json!({ "name": name, "in": "header", "schema": { "type": "string" }, "description": about });
    let path = |name: &str, pattern: &str, about: &str| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "pattern": pattern }, "description": about });
    let duration = || json!({ "type": "string", "examples": ["1500ms", "10s", "5m"] });
    json!({
        "queue": path("queue", QUEUE_PATTERN, "A queue's name, which is its kind's name."),
        "id": path("id", TASK_ID_PATTERN, "A task's id."),
        "blob_id": path("blob_id", BLOB_ID_PATTERN, "A blob's id: `<queue>_<name>`."),
        "blob_queue": json!({ "name": "queue", "in": "query", "required": true, "schema": { "type": "string", "pattern": QUEUE_PATTERN }, "description": "The queue whose tasks are to use it." }),
        "failure_code": query("code", json!({ "type": "string" }), "Only letters whose failure has this code."),
        "died_before": query("before", json!({ "type": "string", "format": "date-time" }), "Only letters that died before this time."),
        "died_after": query("after", json!({ "type": "string", "format": "date-time" }), "Only letters that died at this time or later."),
        "delay": query("delay", duration(), "Start no sooner than in this time."),
        "at": query("at", json!({ "type": "string", "format": "date-time" }), "Start no sooner than at this time. Not with `delay`."),
        "deadline": query("deadline", json!({ "type": "string", "examples": ["10m", "2026-11-23T14:00:00Z"] }), "The task is `expired` unless it has ended by then: a duration from now, or a time. Not before `at` or `delay`."),
        "task_timeout": query("timeout", duration(), "The longest time of one attempt; at most the queue's."),
        "priority": query("priority", json!({ "type": "string", "pattern": "^[a-z]$" }), "A lane of the queue: `h`, `m` or `l`."),
        "ordering_key": query("ordering_key", json!({ "type": "string", "minLength": 1, "maxLength": ORDERING_KEY_BYTES_MAX }), "Tasks with one ordering key share a bucket."),
        "attempts_max": query("attempts_max", json!({ "type": "integer", "minimum": 1, "maximum": 1_000 }), "How often a handler may be started, the first time included."),
        "reason": query("reason", json!({ "type": "string", "maxLength": REASON_CHARS_MAX }), "Why, for people: it stands in the operators' log, and in the failure of a task that is cancelled."),
        "state": query("state", reference("schemas", "State"), "Only tasks in this state."),
        "label_wanted": query("label", json!({ "type": "array", "items": { "type": "string", "pattern": LABEL_PATTERN } }), "Only tasks with this label, `key:value`; several: with all of them."),
        "limit": query("limit", json!({ "type": "integer", "minimum": 1, "maximum": LIST_TASKS_MAX, "default": LIST_TASKS_DEFAULT }), "Most tasks of the page."),
        "cursor": query("cursor", json!({ "type": "string" }), "`next` of the page before."),
        "label": query("label", json!({ "type": "array", "maxItems": LABELS_MAX, "items": { "type": "string", "pattern": LABEL_PATTERN } }), "A pair of your own, `key:value`; may be given again. It stays with the task, and is no part of its identity."),
        "timeout": query("timeout", duration(), "The longest time to wait for the answer: 10s, at most 60s."),
        "idempotency_key": header("Idempotency-Key", "The same key gives the same task, for as long as results are kept."),
        "prefer": header("Prefer", "`wait=N` (RFC 7240): answer with the ended task if it ends within N seconds."),
        "last_event_id": header("Last-Event-ID", "The `id` of the last event that was seen; only later ones are sent."),
        "traceparent": header("traceparent", "The caller's trace (W3C). Unless the dispatcher trusts it, the new trace is linked to it."),
    })
}

/// Headers of answers.
pub(super) fn headers() -> Value {
    let header = |about: &str| json!({ "schema": { "type": "string" }, "description": about });
    json!({
        "Idempotency-Key-Expires": header("Until when the key is remembered; only with a key."),
        "Idempotency-Key-Repeated": header("`true`: an earlier submit with this key had stored the task; it may have ended since."),
        "Location": header("Where the task, or the blob, is: `/v1/tasks/{id}`, `/v1/blobs/{id}`."),
        "Preference-Applied": header("`wait=N`, if that was honoured."),
        "Retry-After": header("Seconds after which to try again."),
        "WWW-Authenticate": header("`Bearer`, with `error` where there was a token (RFC 6750)."),
    })
}

/// Refusals, one for each status, named `Problem<status>`.
pub(super) fn responses() -> Value {
    let mut responses = Members::new();
    for code in Code::all() {
        let response = responses.entry(format!("Problem{}", code.status())).or_insert_with(|| {
            json!({
                "description": "",
                "headers": { "Retry-After": reference("headers", "Retry-After") },
                "content": { "application/problem+json": { "schema": reference("schemas", "Problem") } },
            })
        });
        let about = response["description"].as_str().unwrap_or_default();
        let separator = if about.is_empty() { "" } else { "; " };
        response["description"] = Value::from(format!("{about}{separator}`{}`: {}", code.name(), code.title()));
        if code.status() == 401 {
            response["headers"]["WWW-Authenticate"] = reference("headers", "WWW-Authenticate");
        }
    }
    Value::Object(responses)
}
