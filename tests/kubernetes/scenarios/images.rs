//! A: tasks go in through the Service and all of them come out.

use anyhow::Result;

use crate::cluster::Cluster;
use crate::load::Plan;
use crate::table::Row;

const TASKS: usize = 500;

/// a: tasks go in through the Service and all of them come out.
pub(crate) async fn run(cluster: &Cluster) -> Result<Vec<Row>> {
    let report = cluster.load(Plan::images(TASKS)).await?.report().await?;
    report.whole(TASKS)?.first_attempts()?;
    Ok(vec![Row::passed(
        "a",
        format!("{TASKS} image tasks through the Service"),
        format!("{TASKS} completed, 0 lost, attempts {TASKS} x 1"),
        report.words(),
    )])
}
