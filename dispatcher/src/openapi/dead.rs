//! Dead letters.

use serde_json::{Value, json};

use super::paths::{answer, parameter, refuse};
use super::{Members, reference};
use crate::limits::REASON_CHARS_MAX;

/// The paths.
pub(super) fn paths() -> Members {
    let mut paths = Members::new();
    let mut add = |path: &str, item: Value| paths.insert(path.to_owned(), item);
    let queue = || parameter("queue");
    add("/v1/queues/{queue}/dead", json!({ "parameters": [queue()], "get": list() }));
    let letter = json!({ "parameters": [queue(), parameter("id")], "get": get(), "delete": delete() });
    add("/v1/queues/{queue}/dead/{id}", letter);
    add("/v1/queues/{queue}/dead/{id}:redrive", json!({ "parameters": [queue(), parameter("id")], "post": redrive() }));
    let redriven = many("redrive_many", "Redrive many dead letters, at most 1,000 a call.");
    add("/v1/queues/{queue}/dead:redrive", json!({ "parameters": [queue()], "post": redriven }));
    let dropped = many("drop_dead_many", "Drop many dead letters, at most 1,000 a call.");
    add("/v1/queues/{queue}/dead:drop", json!({ "parameters": [queue()], "post": dropped }));
    paths
}

/// Their documents.
pub(super) fn schemas() -> Members {
    let time = json!({ "type": "string", "format": "date-time" });
    let time_or_null = json!({ "type": ["string", "null"], "format": "date-time" });
    let text_or_null = json!({ "type": ["string", "null"] });
    let count = json!({ "type": "integer", "minimum": 0 });
    let fields = json!({
        "payload": { "type": ["object", "null"], "description": "The kind's input; null in lists, and where it is a blob." },
        "payload_blob": { "type": ["string", "null"], "description": "Where a payload of more than 256 KiB is: the id of a blob." },
        "dead_at": time,
        "reason": { "type": "string", "description": "In one line: why no further attempt was made." },
        "run": { "type": "integer", "minimum": 1, "description": "Which run failed: 1, and one more for each redrive." },
    });
    let filter = json!({
        "type": ["object", "null"], "additionalProperties": false,
        "properties": {
            "code": text_or_null,
            "labels": { "type": "object", "additionalProperties": { "type": "string" } },
            "before": time_or_null, "after": time_or_null,
            "limit": { "type": ["integer", "null"], "minimum": 1, "maximum": 1_000 },
            "cursor": text_or_null,
        },
    });
    let mut schemas = Members::new();
    let mut add = |name: &str, schema: Value| schemas.insert(name.to_owned(), schema);
    add("DeadLetter", json!({ "allOf": [reference("schemas", "Task"), { "type": "object", "properties": fields }] }));
    add(
        "DeadList",
        json!({ "type": "object", "properties": {
            "dead": { "type": "array", "items": reference("schemas", "DeadLetter") },
            "next": text_or_null,
        } }),
    );
    add("DeadFilter", filter);
    add(
        "DeadManyAnswer",
        json!({ "type": "object", "properties": {
            "done": count, "gone": count, "next": text_or_null,
            "problems": { "type": "array", "maxItems": 100, "items": reference("schemas", "Problem") },
        } }),
    );
    schemas
}

fn list() -> Value {
    let parameters = ["failure_code", "label_wanted", "died_before", "died_after", "limit", "cursor"].map(parameter);
    let mut operation = json!({
        "operationId": "list_dead", "tags": ["queues"],
        "summary": "The dead letters of a queue, the latest first, a page at a time.",
        "description": "Without their payloads. A page may be short, or empty, and have a `next`.",
        "parameters": parameters,
        "responses": { "200": answer("A page", &reference("schemas", "DeadList")) },
    });
    refuse(&mut operation, &[400, 404, 429, 503]);
    operation
}

fn get() -> Value {
    let mut operation = json!({
        "operationId": "get_dead", "tags": ["queues"], "summary": "A dead letter with its payload.",
        "responses": { "200": answer("The letter", &reference("schemas", "DeadLetter")) },
    });
    refuse(&mut operation, &[404, 503]);
    operation
}

fn delete() -> Value {
    let mut operation = json!({
        "operationId": "drop_dead", "tags": ["queues"], "summary": "Drop a dead letter; its task stays failed.",
        "parameters": [parameter("reason")],
        "responses": { "204": { "description": "It is gone" } },
    });
    refuse(&mut operation, &[400, 404, 503]);
    operation
}

fn redrive() -> Value {
    let body = json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "payload": { "type": ["object", "null"], "description": "Another payload instead of the letter's." },
            "deadline": { "type": ["string", "null"], "examples": ["10m", "2026-11-23T14:00:00Z"] },
            "attempts_max": { "type": ["integer", "null"], "minimum": 1 },
            "run": { "type": ["integer", "null"], "minimum": 1, "description": "Only a letter of this run: for who asks again." },
            "reason": reason(),
        },
    });
    let mut operation = json!({
        "operationId": "redrive", "tags": ["queues"],
        "summary": "Put the task of a dead letter into its queue again, as its next run.",
        "requestBody": { "required": false, "content": { "application/json": { "schema": body }, "application/x-protobuf": {} } },
        "responses": {
            "200": answer("An earlier redrive had done it, and the task has ended", &reference("schemas", "Task")),
            "202": answer("The task is in its queue", &reference("schemas", "Task")),
        },
    });
    for status in ["200", "202"] {
        operation["responses"][status]["headers"] = json!({ "Location": reference("headers", "Location") });
    }
    refuse(&mut operation, &[400, 404, 408, 409, 413, 415, 422, 429, 503]);
    operation
}

fn reason() -> Value {
    json!({ "type": "string", "maxLength": REASON_CHARS_MAX, "description": "Why, for people: it stands in the operators' log." })
}

fn many(operation: &str, about: &str) -> Value {
    let body = json!({
        "type": "object", "additionalProperties": false,
        "description": "Either `ids`, or a `filter`; one without any condition is all.",
        "properties": {
            "ids": { "type": "array", "maxItems": 1_000, "items": { "type": "string" } },
            "filter": reference("schemas", "DeadFilter"),
            "reason": reason(),
        },
    });
    let mut operation = json!({
        "operationId": operation, "tags": ["queues"], "summary": about,
        "requestBody": { "required": true, "content": { "application/json": { "schema": body }, "application/x-protobuf": {} } },
        "responses": { "200": answer("What became of them", &reference("schemas", "DeadManyAnswer")) },
    });
    refuse(&mut operation, &[400, 404, 408, 413, 415, 422, 429, 503]);
    operation
}
