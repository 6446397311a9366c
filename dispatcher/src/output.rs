//! The output of a completed task, wherever it is: in its result, or in the blob that the result names.

use serde_json::value::RawValue;
use workfleet_link::blobs::{self, BlobError};
use workfleet_proto::blob::BlobId;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::{self, State};

use crate::blobs::{BlobRead, unknown_blob};
use crate::dispatcher::{Dispatcher, Inner, Output};
use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::large::Held;
use crate::limits::JSON_COPIES;
use crate::view::TaskView;

impl Dispatcher {
    /// The output of a completed task.
    ///
    /// # Errors
    /// When there is none, or not yet; `unknown_blob` where it was too large to travel and is no longer kept.
    pub async fn result(&self, id: &TaskId) -> Result<Output, ApiError> {
        self.result_held(id).await.map(|(output, _)| output)
    }

    /// The same with its share of the memory.
    pub(crate) async fn result_held(&self, id: &TaskId) -> Result<(Output, Held), ApiError> {
        let inner = self.inner();
        let view = self.get(id).await?;
        check_completed(id, &view)?;
        if view.output_blob.is_some() {
            let (queue, result, blob, claim) = inner.output_blob(id).await?;
            let held =
                inner.large.hold(usize::try_from(claim.bytes).unwrap_or(usize::MAX).saturating_mul(JSON_COPIES))?;
            let protobuf = blobs::fetch(&inner.broker, &blob, &claim).await?;
            let json = inner.kinds.output_json(&queue, &result.schema, &protobuf).await.ok_or_else(unfit)?;
            return Ok((Output { protobuf, json }, held));
        }
        match (view.output_bytes, view.output) {
            (Some(protobuf), Some(json)) => Ok((Output { protobuf, json }, inner.large.hold_nothing())),
            _ => Err(unfit()),
        }
    }

    /// An output that is a blob, piece by piece; nothing where it is in the result itself.
    pub(crate) async fn large_output(&self, id: &TaskId) -> Result<Option<BlobRead>, ApiError> {
        let view = self.get(id).await?;
        check_completed(id, &view)?;
        if view.output_blob.is_none() {
            return Ok(None);
        }
        let (_, _, blob, claim) = self.inner().output_blob(id).await?;
        let read = self.get_blob(&blob).await?;
        let sha256: String = claim.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
        if read.info.sha256 == sha256 {
            Ok(Some(read))
        } else {
            Err(BlobError::Damaged { blob, reason: "it is not what the result says".to_owned() }.into())
        }
    }
}

impl Inner {
    /// The blob that a result names.
    async fn output_blob(
        &self,
        id: &TaskId,
    ) -> Result<(std::sync::Arc<Queue>, v1::Result, BlobId, v1::Blob), ApiError> {
        let queue = self.kinds.queue(id.queue_str()).await?;
        let result = self.read_result(&queue, id).await?.ok_or_else(|| crate::state::unknown_task(id))?;
        let claim = result.blob.clone().ok_or_else(unfit)?;
        let blob = BlobId::named(&queue.name, &claim.name).map_err(|_| unfit())?;
        match blobs::info(&self.broker, &blob).await? {
            Some(_) => Ok((queue, result, blob, claim)),
            None => Err(unknown_blob(&blob).task_id(id)),
        }
    }
}

/// Refuses a task that has no output, or none yet.
fn check_completed(id: &TaskId, view: &TaskView) -> Result<(), ApiError> {
    match view.state.0 {
        State::Completed => Ok(()),
        state if state.is_end() => {
            let error = ApiError::new(Code::NoOutput, format!("the task is {}", state.word())).task_id(id);
            Err(match view.failure.clone() {
                Some(failure) => error.failure(failure),
                None => error,
            })
        }
        state => Err(ApiError::new(Code::NotEnded, format!("the task is {}", state.word())).task_id(id)),
    }
}

fn unfit() -> ApiError {
    ApiError::new(Code::Internal, "the output does not fit its kind, so it cannot be shown")
}

/// The text itself, without a copy.
pub(crate) fn text(json: Box<RawValue>) -> String {
    Box::<str>::from(json).into_string()
}
