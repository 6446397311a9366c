//! B: replicas come and go.

use std::time::Duration;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::kubectl::kubectl;
use crate::load::Plan;
use crate::pods;
use crate::table::Row;

const WORKER: &str = "worker-thumbnail";
const TASKS: usize = 1_500;
const READY_TIME_MAX: Duration = Duration::from_secs(120);

/// b: replicas come and go, and pods are deleted, while tasks run.
pub(crate) async fn run(cluster: &Cluster) -> Result<Vec<Row>> {
    let selector = pods::worker("thumbnail");
    pods::scale(WORKER, 1).await?;
    pods::ready(&selector, 1, READY_TIME_MAX).await?;
    let load = cluster.load(Plan::images(TASKS).per_second(25.0)).await?;
    load.accepted(100).await?;
    pods::scale(WORKER, 4).await?;
    pods::ready(&selector, 4, READY_TIME_MAX).await?;
    let victims: Vec<String> = pods::names(&selector).await?.into_iter().take(2).collect();
    for victim in &victims {
        kubectl(&["delete", "pod", victim, "--wait=false"]).await?;
    }
    pods::ready(&selector, 4, READY_TIME_MAX).await?;
    pods::scale(WORKER, 1).await?;
    pods::ready(&selector, 1, READY_TIME_MAX).await?;
    let report = load.report().await?;
    report.whole(TASKS)?.first_attempts()?;
    Ok(vec![Row::passed(
        "b",
        format!("`kubectl scale` 1 -> 4 -> 1 and {} pods deleted under {TASKS} image tasks", victims.len()),
        format!("{TASKS} completed, 0 lost, attempts {TASKS} x 1"),
        report.words(),
    )])
}
