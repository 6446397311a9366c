//! J and k: what an operator does, and the Jobs that look after everything.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use workfleet_tests::Probe;

use crate::cluster::{Cluster, say};
use crate::load::Plan;
use crate::manifests::Manifests;
use crate::operator::{Operator, job, told};
use crate::pods;
use crate::table::Row;

const WORKER: &str = "worker-probe";
const FAILING: usize = 30;
/// Letters that are told of one by one in a minute: `dead_alert` of the probe's queue.
const TOLD_A_MINUTE: usize = 10;
/// In two minutes, since the letters may be of both, with a sum of each.
const ALERTS_MAX: usize = 2 * (TOLD_A_MINUTE + 1);
const WAITING: usize = 100;
/// As many as a replica has slots.
const RUNNING: usize = 20;
/// Longer than anybody here waits.
const TASK_MS: u32 = 120_000;
const EXPIRING: usize = 5;
const KEPT: usize = 100;
const CHANGE_TIME_MAX: Duration = Duration::from_secs(60);
const READY_TIME_MAX: Duration = Duration::from_secs(120);

/// j: dead letters, cancels and deadlines; then a look at everything that this run has accepted.
pub(crate) async fn run(cluster: &Cluster, manifests: &Manifests) -> Result<Vec<Row>> {
    replicas(1).await?;
    let operator = Operator::start(manifests).await?;
    let tried = by_hand(cluster, &operator).await;
    operator.stop().await;
    let mut rows = tried?;
    rows.extend(looked_at("j", "D", 1).await?);
    Ok(rows)
}

/// k: three servers are what the production overlay says that they are, and have lost nothing.
pub(crate) async fn production(cluster: &Cluster) -> Result<Vec<Row>> {
    let report = cluster.load(Plan::probes(KEPT, &Probe::echo("kept"))).await?.report().await?;
    report.whole(KEPT)?;
    Ok(looked_at("k", "A", KEPT as u64).await?.into())
}

async fn by_hand(cluster: &Cluster, operator: &Operator) -> Result<Vec<Row>> {
    let mut rows = vec![letters(cluster, operator).await?];
    rows.extend(cancels(cluster, operator).await?);
    rows.push(deadlines(operator).await?);
    rows.push(log(operator).await?);
    replicas(1).await?;
    Ok(rows)
}

/// Tasks that fail for good leave letters, of which somebody is told; another payload makes one of them complete.
async fn letters(cluster: &Cluster, operator: &Operator) -> Result<Row> {
    let doomed = Probe::echo("doomed").fails_with("told");
    let report = cluster.load(Plan::probes(FAILING, &doomed)).await?.report().await?;
    ensure!(report.ended_as("failed") == FAILING, "not all of {FAILING} have failed: {}", report.summary);
    let list = ["dead", "list", "probe", "--code", "told", "--all"];
    operator.until("a letter for each", CHANGE_TIME_MAX, &list, |letters| letters.len() == FAILING).await?;
    let alerts = ["tasks", "webhook", "--all"];
    operator.until("they are told of", CHANGE_TIME_MAX, &alerts, |tasks| tasks.len() >= TOLD_A_MINUTE).await?;
    let alerts = operator.workfleet(&alerts).await?;
    // A list that is read while tasks move may have one of them twice.
    let alerts: BTreeSet<&str> = alerts.iter().filter_map(|task| task["id"].as_str()).collect();
    let alerts = alerts.len();
    ensure!(alerts <= ALERTS_MAX, "{alerts} alerts, and {TOLD_A_MINUTE} a minute are allowed");
    let mended = &report.ended[0].id;
    operator.workfleet(&["dead", "redrive", mended, "--field", "fail_times=0"]).await?;
    let get = ["get", mended];
    operator
        .until("it completes", CHANGE_TIME_MAX, &get, |task| task.iter().all(|t| t["state"] == "completed"))
        .await?;
    operator.workfleet(&["dead", "redrive", "--queue", "probe", "--code", "told", "--yes"]).await?;
    let again = |letters: &[Value]| letters.len() == FAILING - 1 && letters.iter().all(|letter| letter["run"] == 2);
    operator.until("the others fail once more", CHANGE_TIME_MAX, &list, again).await?;
    Ok(Row::passed(
        "j",
        format!("{FAILING} tasks that fail for good, one redriven with another payload, all others as they were"),
        format!(
            "{FAILING} letters, {TOLD_A_MINUTE} or more told of, 1 completed, {} letters of the next run",
            FAILING - 1
        ),
        format!("{FAILING} letters, {alerts} alerts, 1 completed, {} letters of run 2", FAILING - 1),
    ))
}

/// Tasks that wait while there is no worker, and tasks that run.
async fn cancels(cluster: &Cluster, operator: &Operator) -> Result<[Row; 2]> {
    let cancel = async |state: &str, tasks: usize| {
        let words = ["cancel", "--queue", "probe", "--state", state, "--reason", "a test", "--yes"];
        let sum = operator.workfleet(&words).await?;
        ensure!(sum.len() == 1 && sum[0]["cancelled"] == tasks, "not all of {tasks} were cancelled: {sum:?}");
        anyhow::Ok(())
    };
    let long = Probe::echo("long").sleeps_ms(TASK_MS).heeds_cancel();
    replicas(0).await?;
    let load = cluster.load(Plan::probes(WAITING, &long)).await?;
    load.accepted(WAITING as u64).await?;
    cancel("queued", WAITING).await?;
    let report = load.report().await?;
    ensure!(report.ended_as("cancelled") == WAITING, "not all are cancelled: {}", report.summary);
    let waiting = Row::passed(
        "j",
        format!("{WAITING} tasks cancelled while there is no worker"),
        format!("{WAITING} cancelled"),
        format!("{} cancelled", report.ended_as("cancelled")),
    );
    replicas(1).await?;
    let load = cluster.load(Plan::probes(RUNNING, &long)).await?;
    let queue = ["queues", "probe"];
    let run = |count: usize| move |queue: &[Value]| queue.iter().all(|queue| queue["running"] == count);
    operator.until("all of them run", CHANGE_TIME_MAX, &queue, run(RUNNING)).await?;
    cancel("running", RUNNING).await?;
    let freed = operator.until("their slots are free", CHANGE_TIME_MAX, &queue, run(0)).await?;
    let report = load.report().await?;
    ensure!(report.ended_as("cancelled") == RUNNING, "not all are cancelled: {}", report.summary);
    let running = Row::passed(
        "j",
        format!("{RUNNING} tasks of {} s cancelled while they run", TASK_MS / 1_000),
        format!("{RUNNING} cancelled, their slots free"),
        format!("{} cancelled, slots free {:.1} s after the answer", report.ended_as("cancelled"), freed.as_secs_f64()),
    );
    Ok([waiting, running])
}

/// Deadlines pass at the broker, whether there is a worker or not.
async fn deadlines(operator: &Operator) -> Result<Row> {
    replicas(0).await?;
    for _ in 0..EXPIRING {
        operator.workfleet(&["submit", "probe", "--field", "echo=late", "--deadline", "3s"]).await?;
    }
    let list = ["tasks", "probe", "--state", "expired", "--all"];
    operator.until("all expire", CHANGE_TIME_MAX, &list, |tasks| tasks.len() == EXPIRING).await?;
    Ok(Row::passed(
        "j",
        format!("{EXPIRING} tasks with a deadline in 3 s, no worker"),
        format!("{EXPIRING} expired"),
        format!("{EXPIRING} expired"),
    ))
}

/// Who did all that is written down.
async fn log(operator: &Operator) -> Result<Row> {
    let listed = operator.workfleet(&["operations", "--queue", "probe"]).await?;
    let noted: Vec<&Value> = listed.iter().filter_map(|page| page["operations"].as_array()).flatten().collect();
    let actions: BTreeSet<&str> = noted.iter().filter_map(|one| one["action"].as_str()).collect();
    let by: BTreeSet<&str> = noted.iter().filter_map(|one| one["who"].as_str()).collect();
    for action in ["cancel_many", "redrive", "redrive_many"] {
        ensure!(actions.contains(action), "nobody has noted {action}: {actions:?}");
    }
    ensure!(by.iter().all(|who| who.contains("admin")), "somebody else did it: {by:?}");
    Ok(Row::passed(
        "j",
        "the operators' log",
        "cancel_many, redrive, redrive_many, by admin",
        format!("{} by {}", actions.into_iter().collect::<Vec<_>>().join(", "), by.into_iter().collect::<String>()),
    ))
}

/// The Jobs `doctor` and `audit` with the key of the role `audit`.
async fn looked_at(scenario: &'static str, grade: &str, accepted_min: u64) -> Result<[Row; 2]> {
    let said = job("doctor").await?;
    say(&said);
    let found = told(&said, "grade")?;
    ensure!(found.starts_with(&format!("{grade}:")), "the grade is not {grade}:\n{said}");
    let servers = told(&said, "servers")?.to_owned();
    let examined = format!("grade {grade}, {servers} servers, {} streams, 0 faults", told(&said, "streams")?);
    let said = job("audit").await?;
    say(&said);
    let accepted: u64 = told(&said, "accepted")?.parse()?;
    ensure!(accepted >= accepted_min, "the ledger has {accepted} tasks only:\n{said}");
    let counts = ["accepted", "completed", "failed", "cancelled", "expired", "lost"];
    let counts = counts.into_iter().map(|name| Ok(format!("{} {name}", told(&said, name)?)));
    let counts = counts.collect::<Result<Vec<_>>>()?.join(", ");
    ensure!(told(&said, "lost")? == "0", "some are lost:\n{said}");
    Ok([
        Row::passed(
            scenario,
            "`kubectl create job --from=cronjob/doctor`",
            format!("grade {grade}, no fault"),
            examined,
        ),
        Row::passed(scenario, "`kubectl create job --from=cronjob/audit`: all probes of this fleet", "0 lost", counts),
    ])
}

async fn replicas(count: usize) -> Result<()> {
    pods::scale(WORKER, count).await?;
    pods::ready(&pods::worker("probe"), count, READY_TIME_MAX).await
}
