//! The operators' log.

use serde_json::{Value, json};

use super::paths::{answer, parameter, refuse};
use super::{Members, reference};
use crate::operations::{Action, OPERATION_IDS_MAX};

/// Its path.
pub(super) fn paths() -> Members {
    let mut paths = Members::new();
    paths.insert("/v1/operations".to_owned(), json!({ "get": list() }));
    paths
}

/// Its schemas.
pub(super) fn schemas() -> Members {
    let list = json!({ "type": "object", "properties": {
        "operations": { "type": "array", "items": reference("schemas", "Operation") },
        "next": { "type": ["string", "null"], "description": "`cursor` of the next page; null: there is none." },
    } });
    let operation = json!({ "type": "object", "properties": {
        "at": { "type": "string", "format": "date-time" },
        "action": { "type": "string", "enum": actions() },
        "queue": { "type": "string", "description": "It may be gone." },
        "task_id": { "type": ["string", "null"], "description": "Where it was one task." },
        "filter": { "type": "string", "description": "How many tasks were chosen, in one line; empty where they were named." },
        "ids": { "type": "array", "maxItems": OPERATION_IDS_MAX, "items": { "type": "string" }, "description": "Of many tasks, the first that it came to." },
        "count": { "type": "integer", "minimum": 0, "description": "How many tasks, letters or messages it came to." },
        "who": { "type": "string" },
        "from": { "type": "string", "description": "The address of the connection, or `cli`." },
        "reason": { "type": "string" },
    } });
    let mut schemas = Members::new();
    schemas.insert("OperationList".to_owned(), list);
    schemas.insert("Operation".to_owned(), operation);
    schemas
}

fn actions() -> Vec<&'static str> {
    Action::ALL.iter().map(|action| action.word()).collect()
}

fn list() -> Value {
    let query = |name: &str, schema: Value, about: &str| json!({ "name": name, "in": "query", "schema": schema, "description": about });
    let about =
        "Newest first, in the queues that the caller may operate. A page may be short, or empty, and have a `next`.";
    let mut operation = json!({
        "operationId": "list_operations", "tags": ["queues"], "summary": "What operators did, a page at a time.",
        "description": about,
        "parameters": [
            query("queue", json!({ "type": "string" }), "Only in this queue; one that is gone may be named as long as it has entries."),
            query("action", json!({ "type": "string", "enum": actions() }), "Only this."),
            parameter("limit"),
            parameter("cursor"),
        ],
        "responses": { "200": answer("A page", &reference("schemas", "OperationList")) },
    });
    refuse(&mut operation, &[400, 404, 503]);
    operation
}
