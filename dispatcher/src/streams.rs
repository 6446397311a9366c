//! x
use serde::Serialize;
use workfleet_link::broker::Broker;
use crate::queues_file::QueuesFile;
/// Creates or changes everything that `file` asks for.
///
/// # Errors
/// When the broker refuses.
pub async fn provision(broker: &Broker, file: &QueuesFile) -> Result<Report, ProvisionError> { todo!() }
/// What `provision` did, one line for each stream, consumer, bucket and kind.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report { pub lines: Vec<ReportLine> }
/// What became of one thing.
#[derive(Debug, Clone, Serialize)]
pub struct ReportLine { pub name: String, pub change: Change, pub settings: String }
/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change { Created, Updated, Unchanged }
/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {}
