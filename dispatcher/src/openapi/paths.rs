//! The calls.

use serde_json::{Value, json};
use workfleet_proto::id::QueueName;

use super::{Members, reference};

/// A queue's name, and the name under which its input is described.
pub(super) struct KindNames<'a> {
    pub(super) queue: &'a QueueName,
    pub(super) input: &'a str,
}

impl KindNames<'_> {
    /// The schema of this queue's tasks.
    pub(super) fn task(&self) -> String {
        format!("Task.{}", self.queue)
    }

    /// The schema of the answers to this queue's direct calls.
    pub(super) fn answer(&self) -> String {
        format!("CallAnswer.{}", self.queue)
    }
}

/// Every path that does not depend on a kind.
pub(super) fn common() -> Members {
    let mut paths = Members::new();
    let mut add = |path: &str, item: Value| paths.insert(path.to_owned(), item);
    add("/v1/queues", json!({ "get": list_queues() }));
    add("/v1/queues/{queue}", json!({ "parameters": [parameter("queue")], "get": get_queue() }));
    let any_input = json!({ "type": "object", "description": "The kind's input." });
    let submit = submit("submit", "tasks", &any_input, &reference("schemas", "Task"));
    add(
        "/v1/queues/{queue}/tasks",
        json!({ "parameters": [parameter("queue")], "get": list_tasks("list_tasks", "queues"), "post": submit }),
    );
    let call = call("call", "calls", &any_input, &reference("schemas", "CallAnswer"));
    add("/v1/queues/{queue}/calls", json!({ "parameters": [parameter("queue")], "post": call }));
    add(
        "/v1/tasks/{id}",
        json!({ "parameters": [parameter("id")], "get": get_task(), "delete": super::cancel::cancel() }),
    );
    add("/v1/tasks/{id}/result", json!({ "parameters": [parameter("id")], "get": get_result() }));
    add("/v1/tasks/{id}/events", json!({ "parameters": [parameter("id")], "get": get_events() }));
    add("/v1/scale/{queue}", json!({ "parameters": [parameter("queue")], "get": get_scale() }));
    add("/livez", json!({ "get": probe("livez", "Whether the process lives.") }));
    add("/readyz", json!({ "get": probe("readyz", "Whether it can serve: 503 while the broker is away.") }));
    add("/metrics", json!({ "get": get_metrics() }));
    add("/openapi.json", json!({ "get": get_openapi() }));
    paths.extend(super::blobs::paths());
    paths.extend(super::cancel::paths());
    paths.extend(super::dead::paths());
    paths
}

/// The paths of one queue, with its kind's types. A path without a variable goes before one with it.
pub(super) fn of_queue(kind: &KindNames<'_>) -> Members {
    let (queue, input) = (kind.queue, reference("schemas", kind.input));
    let tag = format!("queue {queue}");
    let suffix = queue.as_str().replace('-', "_");
    let submit = submit(&format!("submit_{suffix}"), &tag, &input, &reference("schemas", &kind.task()));
    let call = call(&format!("call_{suffix}"), &tag, &input, &reference("schemas", &kind.answer()));
    let mut paths = Members::new();
    let list = list_tasks(&format!("list_tasks_{suffix}"), &tag);
    paths.insert(format!("/v1/queues/{queue}/tasks"), json!({ "get": list, "post": submit }));
    paths.insert(format!("/v1/queues/{queue}/calls"), json!({ "post": call }));
    paths
}

fn submit(operation: &str, tag: &str, input: &Value, task: &Value) -> Value {
    let options = ["delay", "at", "deadline", "task_timeout", "priority", "ordering_key", "attempts_max", "label"];
    let names = options.into_iter().chain(["idempotency_key", "prefer", "traceparent"]);
    let location = json!({
        "Location": reference("headers", "Location"),
        "Idempotency-Key-Expires": reference("headers", "Idempotency-Key-Expires"),
        "Idempotency-Key-Repeated": reference("headers", "Idempotency-Key-Repeated"),
    });
    let mut waited = answer("The task ended within the time of `Prefer: wait=N`, completed or not", task);
    waited["headers"] = location.clone();
    waited["headers"]["Preference-Applied"] = reference("headers", "Preference-Applied");
    let mut stored = answer("The task is stored", task);
    stored["headers"] = location;
    let mut operation = json!({
        "operationId": operation, "tags": [tag], "summary": "Submit a task.",
        "parameters": names.map(parameter).collect::<Vec<_>>(),
        "requestBody": body(input),
        "responses": { "200": waited, "202": stored },
    });
    refuse(&mut operation, &[400, 404, 408, 409, 413, 415, 422, 429, 503]);
    operation
}

fn call(operation: &str, tag: &str, input: &Value, reply: &Value) -> Value {
    let parameters = ["timeout", "traceparent"].map(parameter);
    let mut operation = json!({
        "operationId": operation, "tags": [tag], "summary": "Ask a worker directly; at most once, nothing is stored.",
        "parameters": parameters,
        "requestBody": body(input),
        "responses": { "200": answer("The worker's answer", reply) },
    });
    refuse(&mut operation, &[400, 404, 408, 413, 415, 422, 429, 502, 503, 504]);
    operation
}

fn get_task() -> Value {
    let mut operation = json!({
        "operationId": "get_task", "tags": ["tasks"], "summary": "Where a task is, and what came of it.",
        "parameters": [parameter("prefer")],
        "responses": { "200": answer("The task", &reference("schemas", "Task")) },
    });
    refuse(&mut operation, &[404, 503]);
    operation
}

fn get_result() -> Value {
    let mut operation = json!({
        "operationId": "get_result", "tags": ["tasks"],
        "summary": "The output alone, as JSON or, with `Accept: application/x-protobuf`, as the worker encoded it.",
        "responses": { "200": {
            "description": "The output",
            "content": {
                "application/json": { "schema": { "type": "object" } },
                "application/x-protobuf": {},
            },
        } },
    });
    refuse(&mut operation, &[404, 409, 429, 503]);
    operation
}

fn get_events() -> Value {
    let about = "Server-sent events: `event: state` or `event: progress`, `id:` a cursor for `Last-Event-ID`, `data:` \
                 the Task. The stream ends behind the task's end; a comment is sent every 15 s.";
    let mut operation = json!({
        "operationId": "get_events", "tags": ["tasks"], "summary": "Follow a task.", "description": about,
        "parameters": [parameter("last_event_id")],
        "responses": { "200": {
            "description": "The events",
            "content": { "text/event-stream": { "schema": event() } },
        }, "204": { "description": "`Last-Event-ID` was the end: nothing follows" } },
    });
    refuse(&mut operation, &[400, 404, 503]);
    operation
}

/// One event. OpenAPI 3.1 has no word for a stream of them; its readers take the schema of a stream for that of an event.
fn event() -> Value {
    json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "event": { "type": "string", "enum": ["state", "progress", "error"] },
            "id": { "type": "string", "description": "For `Last-Event-ID`." },
            "retry": { "type": "integer", "description": "When to connect again, in milliseconds." },
            "data": {
                "type": "string", "contentMediaType": "application/json",
                "description": "The Task; with `event: error`, a Problem, and the stream breaks off.",
            },
        },
    })
}

fn list_tasks(operation: &str, tag: &str) -> Value {
    let about = "What runs and waits first, oldest first, then what is scheduled or waits for a retry, then what has \
                 ended, newest first. A page costs a bounded number of reads: it may be short, or empty, and have a \
                 `next`. Tasks that move while somebody pages may be seen twice, or not at all. `output` is always \
                 null: ask for the task.";
    let parameters = ["state", "label_wanted", "limit", "cursor"].map(parameter);
    let mut operation = json!({
        "operationId": operation, "tags": [tag], "summary": "The tasks of a queue, a page at a time.",
        "description": about,
        "parameters": parameters,
        "responses": { "200": answer("A page", &reference("schemas", "TaskList")) },
    });
    refuse(&mut operation, &[400, 404, 429, 503]);
    operation
}

fn list_queues() -> Value {
    let mut operation = json!({
        "operationId": "list_queues", "tags": ["queues"], "summary": "All queues that the caller may use.",
        "responses": { "200": answer("The queues", &reference("schemas", "QueueList")) },
    });
    refuse(&mut operation, &[503]);
    operation
}

fn get_queue() -> Value {
    let mut operation = json!({
        "operationId": "get_queue", "tags": ["queues"], "summary": "One queue with its workers.",
        "responses": { "200": answer("The queue", &reference("schemas", "Queue")) },
    });
    refuse(&mut operation, &[404, 503]);
    operation
}

fn get_scale() -> Value {
    let mut operation = json!({
        "operationId": "get_scale", "tags": ["queues"], "summary": "The number that an autoscaler needs.",
        "responses": { "200": answer("The numbers, 0 included", &reference("schemas", "Scale")) },
    });
    refuse(&mut operation, &[404, 503]);
    operation
}

fn get_metrics() -> Value {
    let mut operation = json!({
        "operationId": "metrics", "tags": ["operations"],
        "summary": "Metrics in the Prometheus text format; for those who may read all queues.",
        "responses": {
            "200": { "description": "The metrics", "content": { "text/plain": { "schema": { "type": "string" } } } },
        },
    });
    refuse(&mut operation, &[]);
    operation
}

fn get_openapi() -> Value {
    let mut operation = json!({
        "operationId": "openapi", "tags": ["operations"],
        "summary": "This document, with the queues that the caller may use.",
        "responses": { "200": answer("The document", &json!({ "type": "object" })) },
    });
    refuse(&mut operation, &[503]);
    operation
}

/// For whoever probes: without a token.
fn probe(operation: &str, about: &str) -> Value {
    json!({
        "operationId": operation, "tags": ["operations"], "summary": about, "security": [],
        "responses": {
            "200": { "description": "Yes", "content": { "text/plain": { "schema": { "type": "string" } } } },
            "503": { "description": "No", "content": { "text/plain": { "schema": { "type": "string" } } } },
        },
    })
}

fn body(input: &Value) -> Value {
    json!({
        "required": true,
        "content": { "application/json": { "schema": input }, "application/x-protobuf": {} },
    })
}

pub(super) fn answer(about: &str, schema: &Value) -> Value {
    json!({ "description": about, "content": { "application/json": { "schema": schema } } })
}

pub(super) fn parameter(name: &str) -> Value {
    reference("parameters", name)
}

pub(super) fn refuse(operation: &mut Value, statuses: &[u16]) {
    // Whoever is not let in is told so whatever the call.
    for status in statuses.iter().chain(&[401, 403, 500]) {
        operation["responses"][status.to_string()] = reference("responses", &format!("Problem{status}"));
    }
}
