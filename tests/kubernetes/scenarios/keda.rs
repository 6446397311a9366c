//! G: replicas by backlog.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use workfleet_tests::Probe;

use crate::cluster::{Cluster, has_keda};
use crate::kubectl::{kubectl, list};
use crate::load::Plan;
use crate::manifests::{Manifests, Overlay};
use crate::pods;
use crate::table::Row;

const WHAT: &str = "KEDA scales the probe 0 -> n -> 0 by backlog";
/// With 20 slots and a backlog of one for each: four replicas' worth.
const TASKS: usize = 100;
const TASK_MS: u32 = 10_000;
/// Cooldown, polling, and a drain.
const IDLE_TIME_MAX: Duration = Duration::from_secs(180);
const LOOK_PAUSE: Duration = Duration::from_millis(250);

/// g: nothing runs while there is nothing to do.
pub(crate) async fn run(cluster: &mut Cluster, manifests: &Manifests) -> Result<Vec<Row>> {
    if !has_keda().await {
        return Ok(vec![Row::skipped("g", WHAT, "the cluster has no KEDA")]);
    }
    cluster.apply(manifests, Overlay::LocalWithKeda).await?;
    let tried = cycle(cluster).await;
    // The scenarios that follow scale by hand again.
    kubectl(&["delete", "scaledobject", "--all"]).await?;
    tried
}

async fn cycle(cluster: &Cluster) -> Result<Vec<Row>> {
    let selector = pods::worker("probe");
    pods::ready(&selector, 0, IDLE_TIME_MAX).await?;
    let probe = Probe::echo("backlog").sleeps_ms(TASK_MS);
    let load = cluster.load(Plan::probes(TASKS, &probe)).await?;
    load.accepted(1).await?;
    let seen = Instant::now();
    let mut most = 0;
    let first_ready = loop {
        let pods = list(&["pods", "--selector", &selector]).await?;
        most = most.max(pods.len());
        if let Some(since) = pods.iter().filter_map(pods::ready_since).min() {
            break since;
        }
        ensure!(seen.elapsed() < IDLE_TIME_MAX, "no worker came for {TASKS} tasks");
        tokio::time::sleep(LOOK_PAUSE).await;
    };
    let report = loop_while(load, &selector, &mut most).await?;
    report.whole(TASKS)?.first_attempts()?;
    ensure!(most > 1, "one replica for a backlog of several");
    let ended = Instant::now();
    pods::ready(&selector, 0, IDLE_TIME_MAX).await?;
    let idle_s = ended.elapsed().as_secs();
    let first = |name: &str| report.ended.iter().filter_map(|ended| ended.task[name].as_str()?.parse().ok()).min();
    let submitted: Timestamp = first("submitted_at").context("tasks tell when they were submitted")?;
    let started: Timestamp = first("started_at").context("tasks tell when they were started")?;
    let ready: Timestamp = first_ready.parse()?;
    let seconds = |since: Timestamp| since.duration_since(submitted).as_secs_f64();
    let times = format!("{:.1} s; to its first start {:.1} s", seconds(ready), seconds(started));
    Ok(vec![
        Row::passed(
            "g",
            WHAT,
            format!("0 -> more than 1 -> 0, {TASKS} completed"),
            format!("0 -> {most} -> 0, to 0 {idle_s} s after the last end; {}", report.words()),
        ),
        Row::passed("g", "from the first task to the first pod Ready (told in whole seconds)", "told", times),
    ])
}

/// Watches how many replicas there are until all tasks have ended.
async fn loop_while(load: crate::load::Load, selector: &str, most: &mut usize) -> Result<crate::load::Report> {
    let mut report = std::pin::pin!(load.report());
    loop {
        tokio::select! {
            report = &mut report => return report,
            () = tokio::time::sleep(LOOK_PAUSE) => *most = (*most).max(pods::names(selector).await?.len()),
        }
    }
}
