//! C: tasks that are longer than the drain.

use std::time::Duration;

use anyhow::{Result, ensure};
use workfleet_tests::Probe;

use crate::cluster::Cluster;
use crate::kubectl::kubectl;
use crate::load::Plan;
use crate::pods;
use crate::table::Row;
use crate::traces::Jaeger;

const WORKER: &str = "worker-probe";
const TASKS: usize = 200;
const TASK_MS: u32 = 20_000;
const READY_TIME_MAX: Duration = Duration::from_secs(120);
/// 200 tasks of 20 s in the slots of one replica, and as much again for what is repeated.
const LOST_AFTER: Duration = Duration::from_secs(600);

/// c: tasks that are longer than the drain survive a scale-in and a rolling deploy.
pub(crate) async fn run(cluster: &Cluster) -> Result<Vec<Row>> {
    let selector = pods::worker("probe");
    pods::scale(WORKER, 4).await?;
    pods::ready(&selector, 4, READY_TIME_MAX).await?;
    let plan = Plan::probes(TASKS, &Probe::echo("long").sleeps_ms(TASK_MS)).lost_after(LOST_AFTER);
    let load = cluster.load(plan).await?;
    load.accepted(TASKS as u64).await?;
    // Mid-load: some have ended, every slot is taken again.
    load.ended(30).await?;
    pods::scale(WORKER, 1).await?;
    pods::ready(&selector, 1, READY_TIME_MAX).await?;
    load.ended(100).await?;
    pods::scale(WORKER, 4).await?;
    pods::ready(&selector, 4, READY_TIME_MAX).await?;
    kubectl(&["rollout", "restart", &format!("deployment/{WORKER}")]).await?;
    pods::rolled_out(&format!("deployment/{WORKER}")).await?;
    let report = load.report().await?;
    report.whole(TASKS)?.first_attempts()?;
    pods::scale(WORKER, 1).await?;

    let jaeger = Jaeger::connect().await?;
    let executions = jaeger.executions("probe", &report.ended).await;
    jaeger.close().await;
    let executions = executions?;
    ensure!(executions.unexplained == 0, "executed again without having been handed back: {executions:?}");
    ensure!(executions.handed_back > 0, "nothing was handed back, so nothing was tried: {executions:?}");
    let what = format!("{TASKS} tasks of {} s, scale-in 4 -> 1, rolling deploy", TASK_MS / 1_000);
    let counted = format!("{} executions, {} of them handed back", executions.all, executions.handed_back);
    Ok(vec![
        Row::passed("c", what, format!("{TASKS} completed, 0 lost, attempts {TASKS} x 1"), report.words()),
        Row::passed("c", "spans `process probe` in Jaeger", "executions = tasks + handed back", counted),
    ])
}
