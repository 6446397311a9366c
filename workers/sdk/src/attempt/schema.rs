//! Whether a payload that was written with another schema may be run here.
//!
//! A worker of before a rolling deploy can decode what was written after it, and would leave out what it does not know. So it
//! hands back what says something new, and runs the rest, which is most: to hand back every task with another hash would
//! leave the old workers idle as soon as the new contract is provisioned.

use bytes::Bytes;
use workfleet_link::kinds;

use super::Carried;

impl Carried<'_> {
    /// Whether the payload was written with a schema that this worker was not built with.
    pub(super) fn is_foreign(&self) -> bool {
        self.held.schema() != self.station.schema
    }

    /// What the payload says that this worker would leave out and must not.
    ///
    /// What its own schema has replaced said things that are gone on purpose. The list in `KINDS` tells that from what is
    /// still to come; the payload alone cannot.
    pub(super) async fn unread(&self, payload: &Bytes) -> Option<String> {
        let station = self.station;
        if !self.is_foreign() {
            return None;
        }
        let unread = station.contract.unread(payload.clone())?;
        match kinds::record(&station.broker, &station.queue).await {
            Ok(Some(kind)) if kinds::is_older(&kind.schemas, self.held.schema(), &station.schema) => None,
            Ok(_) => Some(unread),
            Err(error) => {
                tracing::warn!(workfleet.task.id = %self.held.id, %error, "which schema is older cannot be seen");
                Some(unread)
            }
        }
    }

    /// The reason of a dead letter whose payload no worker could read.
    pub(super) fn why_unread(&self, reason: String) -> String {
        if !self.is_foreign() {
            return reason;
        }
        format!(
            "this worker cannot read {reason}. It is written with the schema {}, the worker has {}, and none that can \
             read it has come in 10 minutes",
            self.held.schema(),
            self.station.schema
        )
    }
}
