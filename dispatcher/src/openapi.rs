//! The OpenAPI 3.1 document of what there is: every call, and for each queue its own paths with the input and output of
//! its kind.
//!
//! It is built from the registered kinds when it is asked for, so that a kind which appears while the dispatcher runs is
//! in it at once. A document written by hand, or generated at build time, could never know the kinds.

mod blobs;
mod cancel;
mod dead;
mod operators;
mod parts;
mod paths;
mod schema;

use serde_json::{Map, Value, json};
use workfleet_proto::id::QueueName;
use workfleet_proto::schema::KindSchema;

/// Describes the dispatcher that has these queues.
#[must_use]
pub fn document(kinds: &[(QueueName, KindSchema)]) -> Value {
    let mut schemas = parts::schemas();
    schemas.extend(cancel::schemas());
    schemas.extend(operators::schemas());
    let mut paths = paths::common();
    paths.extend(operators::paths());
    for (queue, kind) in kinds {
        let input = schema::add_message(&mut schemas, &kind.input, schema::Unknown::Refused);
        let output = schema::add_message(&mut schemas, &kind.output, schema::Unknown::Allowed);
        let names = paths::KindNames { queue, input: &input };
        schemas.insert(names.task(), parts::task_of_kind(&output));
        schemas.insert(names.answer(), parts::answer_of_kind(&output));
        paths.extend(paths::of_queue(&names));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Workfleet dispatcher",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": DESCRIPTION,
        },
        "tags": tags(kinds),
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "description": BEARER } },
            "schemas": schemas,
            "parameters": parts::parameters(),
            "headers": parts::headers(),
            "responses": parts::responses(),
        },
    })
}

const DESCRIPTION: &str = "Takes tasks, stores them in NATS JetStream, and says what became of them. \
JSON is snake_case, times are RFC 3339 in UTC, `bytes` are base64, durations are written `1500ms`, `10s`, `5m`. \
Payloads may be sent as protobuf (`application/x-protobuf`) too.";

const BEARER: &str = "A static token, or a JWT with the claim `workfleet`. Each call needs a permission (`submit`, `read`, \
`scale`) for the queue that it is about. A dispatcher that is reached on loopback may be set up to ask for none.";

fn tags(kinds: &[(QueueName, KindSchema)]) -> Vec<Value> {
    let mut tags = vec![
        json!({ "name": "tasks", "description": "Durable work: stored first, carried out whatever happens." }),
        json!({ "name": "calls", "description": "Direct questions to a worker: at most once, nothing stored." }),
        json!({ "name": "queues", "description": "What waits, what runs, and who works." }),
        json!({ "name": "operations", "description": "For probes, scrapers and tools." }),
    ];
    tags.extend(kinds.iter().map(|(queue, kind)| {
        let about = schema::comment_of_kind(kind).unwrap_or_else(|| format!("The tasks of the kind `{queue}`."));
        json!({ "name": format!("queue {queue}"), "description": about })
    }));
    tags
}

/// Names to values, in the order in which they are written.
type Members = Map<String, Value>;

fn reference(section: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{section}/{name}") })
}

#[cfg(test)]
mod tests;
