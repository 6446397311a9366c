//! An error as the body of an answer.

use serde::{Deserialize, Serialize};
use workfleet_proto::v1;

use super::ApiError;
use crate::view::FailureView;

/// RFC 9457 `application/problem+json`. Members that do not apply are left out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Problem {
    /// Always `about:blank`: the code says more than a page could.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short, fixed sentence.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// For people.
    pub detail: String,
    /// For programs; see [`Code`](super::Code).
    pub code: String,
    /// What would have been right.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<String>,
    /// The field or parameter at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The line at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// When to try again, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The task that may exist nevertheless.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// What the handler said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<FailureView>,
}

/// The same where messages of `workfleet.v1` are the answers; these have no list of what would have been right.
impl From<&ApiError> for v1::Problem {
    fn from(error: &ApiError) -> Self {
        let missing = error.known.iter().any(|name| !error.detail.contains(name.as_str()));
        let known = if missing { format!("; known: {}", error.known.join(", ")) } else { String::new() };
        Self {
            code: error.code.name().to_owned(),
            detail: format!("{}{known}", error.detail),
            retry_after_ms: error.retry_after_ms.and_then(|ms| i64::try_from(ms).ok()),
            field: error.field.clone(),
            task_id: error.task_id.as_ref().map(ToString::to_string),
        }
    }
}
