//! The webhook that says that a thumbnail is done.

use prost_types::value::Kind;
use prost_types::{Struct, Value};
use workfleet_proto::id::TaskId;
use workfleet_proto::kinds::thumbnail::{Notify, ThumbnailReply};
use workfleet_proto::kinds::webhook::WebhookRequest;

/// What the webhook says has happened.
const TYPE: &str = "thumbnail.completed";

/// The webhook's task. It has no picture in it: whoever is told asks for the task's result, as large as it is.
pub(crate) fn completed(task: &TaskId, made: &ThumbnailReply, notify: Notify) -> WebhookRequest {
    let number = |number: f64| Kind::NumberValue(number);
    let fields = [
        ("task_id", Kind::StringValue(task.to_string())),
        ("width_px", number(made.width_px.into())),
        ("height_px", number(made.height_px.into())),
        ("format", Kind::StringValue(made.format().as_str_name().to_owned())),
        // Exact for all that fits into memory.
        ("bytes", number(made.image.len() as f64)),
    ];
    let fields = fields.into_iter().map(|(name, kind)| (name.to_owned(), Value { kind: Some(kind) })).collect();
    let data = Some(Value { kind: Some(Kind::StructValue(Struct { fields })) });
    WebhookRequest { url: notify.url, r#type: TYPE.to_owned(), data, secret_ref: notify.secret_ref }
}
