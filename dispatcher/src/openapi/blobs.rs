//! The calls for blobs.

use serde_json::{Value, json};

use super::paths::{answer, parameter, refuse};
use super::{Members, reference};

/// Their paths.
pub(super) fn paths() -> Members {
    let mut paths = Members::new();
    paths.insert("/v1/blobs".to_owned(), json!({ "post": post() }));
    let item = json!({ "parameters": [parameter("blob_id")], "get": get(), "put": put(), "delete": delete() });
    paths.insert("/v1/blobs/{blob_id}".to_owned(), item);
    paths
}

fn bytes() -> Value {
    json!({ "required": true, "content": { "application/octet-stream": {} } })
}

fn put() -> Value {
    let info = reference("schemas", "BlobInfo");
    let mut operation = json!({
        "operationId": "put_blob", "tags": ["blobs"],
        "summary": "Upload a blob under a name of your choice. It never changes: other bytes need another name.",
        "requestBody": bytes(),
        "responses": {
            "200": answer("These very bytes were there already", &info),
            "201": answer("It is stored", &info),
        },
    });
    refuse(&mut operation, &[400, 403, 404, 408, 409, 413, 429, 503]);
    operation
}

fn post() -> Value {
    let mut stored = answer("It is stored", &reference("schemas", "BlobInfo"));
    stored["headers"] = json!({ "Location": reference("headers", "Location") });
    let mut operation = json!({
        "operationId": "post_blob", "tags": ["blobs"], "summary": "Upload a blob under a name that is made up.",
        "parameters": [parameter("blob_queue")], "requestBody": bytes(), "responses": { "201": stored },
    });
    refuse(&mut operation, &[400, 404, 408, 413, 429, 503]);
    operation
}

fn get() -> Value {
    let mut operation = json!({
        "operationId": "get_blob", "tags": ["blobs"],
        "summary": "The bytes of a blob: an upload, a large payload or a large output. `ETag` is their SHA-256.",
        "responses": { "200": { "description": "The bytes", "content": { "application/octet-stream": {} } } },
    });
    refuse(&mut operation, &[400, 404, 429, 503]);
    operation
}

fn delete() -> Value {
    let mut operation = json!({
        "operationId": "delete_blob", "tags": ["blobs"],
        "summary": "Delete an upload. What belongs to a task goes with the task.",
        "responses": { "204": { "description": "It is gone" } },
    });
    refuse(&mut operation, &[400, 403, 404, 503]);
    operation
}
