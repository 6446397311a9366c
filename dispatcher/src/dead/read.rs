//! One dead letter with its payload.

use workfleet_proto::id::TaskId;

use super::unknown_letter;
use super::view::DeadView;
use crate::dispatcher::Inner;
use crate::error::ApiError;

impl Inner {
    pub(super) async fn dead_letter(&self, id: &TaskId) -> Result<DeadView, ApiError> {
        let queue = self.queue_of_letter(id).await?;
        let letter = self.letter(id).await?.ok_or_else(|| unknown_letter(id))?;
        // A large payload is shown by the id of its blob alone.
        let inline = letter.whole().filter(|envelope| envelope.blob.is_none());
        let (payload_bytes, payload) = match inline {
            Some(envelope) => {
                let json = self.kinds.input_json(&queue, &envelope.schema, &envelope.payload).await;
                (Some(envelope.payload.clone()), json)
            }
            None => (None, None),
        };
        Ok(DeadView { payload, payload_bytes, ..DeadView::of(&queue, letter) })
    }
}
