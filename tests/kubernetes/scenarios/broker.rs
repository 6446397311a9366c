//! D and h: the broker goes and comes back.

use std::time::Duration;

use anyhow::Result;
use workfleet_tests::Probe;

use crate::cluster::Cluster;
use crate::kubectl::{kubectl_within, list};
use crate::load::Plan;
use crate::pods;
use crate::table::Row;

/// All that must outlive its broker.
const FLEET: &str = "app.kubernetes.io/component in (dispatcher, worker)";
const NATS: &str = "app.kubernetes.io/component=nats";
const TASKS: usize = 600;
/// Enough for three minutes: a server that leaves and comes back takes half of one.
const TASKS_OF_THREE: usize = 900;
const TASK_MS: u32 = 300;
/// A server leaves in lame-duck mode, with 60 s of grace, and has to catch up when it is back.
const SERVER_TIME_MAX: Duration = Duration::from_secs(180);
const LOST_AFTER: Duration = Duration::from_secs(420);

/// d: the only server is deleted under load.
pub(crate) async fn one(cluster: &Cluster) -> Result<Vec<Row>> {
    let words = delete_all(cluster, TASKS, 5.0).await?;
    Ok(vec![Row::passed(
        "d",
        format!("the NATS pod deleted under {TASKS} tasks"),
        format!("{TASKS} completed, 0 lost, no worker restarted"),
        words,
    )])
}

/// h: three servers are deleted one after the other under load.
pub(crate) async fn three(cluster: &Cluster) -> Result<Vec<Row>> {
    let servers = list(&["pods", "--selector", NATS]).await?.len();
    anyhow::ensure!(servers == 3, "the production overlay has {servers} NATS pods, not 3");
    let words = delete_all(cluster, TASKS_OF_THREE, 5.0).await?;
    Ok(vec![Row::passed(
        "h",
        format!("production overlay: three NATS pods deleted one after the other under {TASKS_OF_THREE} tasks"),
        format!("{TASKS_OF_THREE} completed, 0 lost, no worker restarted"),
        words,
    )])
}

async fn delete_all(cluster: &Cluster, tasks: usize, rate: f64) -> Result<String> {
    let servers = pods::names(NATS).await?;
    let probe = Probe::echo("steady").sleeps_ms(TASK_MS);
    let load = cluster.load(Plan::probes(tasks, &probe).per_second(rate).lost_after(LOST_AFTER)).await?;
    load.ended(20).await?;
    let before = pods::restarts(FLEET).await?;
    for server in &servers {
        kubectl_within(SERVER_TIME_MAX, &["delete", "pod", server]).await?;
        pods::ready(NATS, servers.len(), SERVER_TIME_MAX).await?;
    }
    // Or the last one was deleted in silence, which proves nothing.
    load.still_submits(tasks as u64).await?;
    let report = load.report().await?;
    report.whole(tasks)?;
    pods::nobody_restarted(FLEET, &before).await?;
    Ok(format!("{}, {} pods of the fleet with 0 restarts", report.words(), before.len()))
}
