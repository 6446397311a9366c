//! The calls that cancel.

use serde_json::{Value, json};

use super::paths::{answer, parameter, refuse};
use super::{Members, reference};
use crate::limits::CANCEL_MANY_MAX;

/// `DELETE` of a task.
pub(super) fn cancel() -> Value {
    let about = "A cancel that was acknowledged holds: no handler is started for a delivery that is made afterwards, and \
                 what an attempt that a worker still holds comes to is not recorded. A handler that runs is told. A \
                 repeat does the same again.";
    let cancelled = reference("schemas", "CancelledTask");
    let mut operation = json!({
        "operationId": "cancel_task", "tags": ["tasks"], "summary": "End a task that has not ended.",
        "description": about,
        "parameters": [parameter("reason")],
        "responses": {
            "200": answer("It is cancelled, and every worker of the queue has confirmed", &cancelled),
            "202": answer("It is cancelled; some workers have not confirmed within a second", &cancelled),
        },
    });
    refuse(&mut operation, &[400, 404, 409, 429, 503]);
    operation
}

/// The paths.
pub(super) fn paths() -> Members {
    let item = json!({ "parameters": [parameter("queue")], "post": cancel_many() });
    Members::from_iter([("/v1/queues/{queue}/tasks:cancel".to_owned(), item)])
}

fn cancel_many() -> Value {
    let about = "By their ids, or by a filter with one condition at least. A call looks at a page of tasks and says in \
                 `next` where to go on. Tasks that move meanwhile may be missed: begin anew until nothing is found.";
    let done = reference("schemas", "CancelledMany");
    let mut operation = json!({
        "operationId": "cancel_tasks", "tags": ["queues"], "summary": "End many tasks of a queue.", "description": about,
        "requestBody": {
            "required": true,
            "content": {
                "application/json": { "schema": reference("schemas", "CancelMany") },
                "application/x-protobuf": {},
            },
        },
        "responses": {
            "200": answer("What came of it; every worker of the queue has confirmed", &done),
            "202": answer("What came of it; some workers have not confirmed within a second", &done),
        },
    });
    refuse(&mut operation, &[400, 404, 408, 413, 415, 422, 429, 503]);
    operation
}

/// The documents.
pub(super) fn schemas() -> Members {
    let count = |about: &str| json!({ "type": "integer", "minimum": 0, "description": about });
    let unanswered = count("Workers of the queue that have not confirmed within a second.");
    let with_unanswered = json!({ "type": "object", "properties": { "workers_unanswered": unanswered } });
    let text_or_null = || json!({ "type": ["string", "null"] });
    let filter = json!({
        "type": ["object", "null"],
        "additionalProperties": false,
        "properties": {
            "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            "state": { "anyOf": [{ "enum": ["scheduled", "queued", "running", "retrying"] }, { "type": "null" }] },
            "limit": { "type": ["integer", "null"], "minimum": 1, "maximum": CANCEL_MANY_MAX },
            "cursor": text_or_null(),
        },
    });
    let many = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "ids": { "type": "array", "maxItems": CANCEL_MANY_MAX, "items": { "type": "string" } },
            "filter": filter,
            "reason": { "type": "string", "description": "For people." },
        },
    });
    let done = json!({
        "type": "object",
        "properties": {
            "cancelled": count("Tasks that are cancelled now, those that were so before included."),
            "ended": count("Tasks that had ended in another way."),
            "unknown": count("Tasks that nobody knows."),
            "workers_unanswered": unanswered,
            "problems": {
                "type": "array", "items": reference("schemas", "Problem"),
                "description": "Tasks that could not be cancelled now; the first 100.",
            },
            "next": text_or_null(),
        },
    });
    Members::from_iter([
        ("CancelledTask".to_owned(), json!({ "allOf": [reference("schemas", "Task"), with_unanswered] })),
        ("CancelMany".to_owned(), many),
        ("CancelledMany".to_owned(), done),
    ])
}
