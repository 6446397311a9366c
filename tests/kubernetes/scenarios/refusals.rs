//! I: what is refused.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::{Client, ConnectOptions, Event};

use crate::cluster::Cluster;
use crate::kubectl::{Forwarding, list};
use crate::manifests::{Manifests, Overlay};
use crate::table::Row;

/// A role, what it may never publish to, and what it may never hear. All of them may read the stream `TASKS_thumbnail`.
struct Role {
    name: &'static str,
    publishes: &'static [&'static str],
    subscribes: &'static [&'static str],
}

const WORKER: Role = Role { name: "worker-thumbnail", publishes: &WORKER_PUBLISHES, subscribes: &WORKER_SUBSCRIBES };
const WORKER_PUBLISHES: [&str; 10] = [
    // Another queue's tasks, results and blobs.
    "$JS.API.CONSUMER.MSG.NEXT.TASKS_probe.WORK_m",
    "$JS.API.STREAM.MSG.GET.RESULTS_probe",
    "$JS.API.DIRECT.GET.OBJ_IN_probe",
    "wf.result.probe.q.probe_x",
    // Streams, its own included.
    "$JS.API.STREAM.CREATE.MINE",
    "$JS.API.STREAM.PURGE.TASKS_thumbnail",
    "$JS.API.STREAM.DELETE.TASKS_thumbnail",
    // Its own settings; tasks past the dispatcher; children of queues that are not listed.
    "$KV.QUEUES.thumbnail",
    "wf.task.thumbnail.q.m.thumbnail_x",
    "wf.submit.probe",
];
const WORKER_SUBSCRIBES: [&str; 4] = ["wf.task.>", "wf.done.>", "_INBOX_dispatcher.>", "$JS.EVENT.>"];
/// Whoever looks changes nothing.
const AUDIT: Role = Role { name: "audit", publishes: &AUDIT_PUBLISHES, subscribes: &AUDIT_SUBSCRIBES };
const AUDIT_PUBLISHES: [&str; 10] = [
    "wf.task.thumbnail.q.m.thumbnail_x",
    "wf.result.thumbnail.q.thumbnail_x",
    "wf.submit.thumbnail",
    "wf.cancel.thumbnail",
    "$KV.QUEUES.thumbnail",
    "$JS.API.STREAM.PURGE.TASKS_thumbnail",
    "$JS.API.STREAM.MSG.DELETE.TASKS_thumbnail",
    "$JS.API.STREAM.DELETE.DEAD_thumbnail",
    "$JS.API.CONSUMER.MSG.NEXT.TASKS_thumbnail.WORK_m",
    // Blobs are nobody's business but their queue's.
    "$JS.API.DIRECT.GET.OBJ_IN_thumbnail",
];
const AUDIT_SUBSCRIBES: [&str; 3] = ["wf.task.>", "wf.done.>", "_INBOX_dispatcher.>"];
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// What the server has said.
type Said = Arc<Mutex<Vec<String>>>;

/// i: the broker refuses what a role has no business with, and the namespace what is not `restricted`.
pub(crate) async fn run(cluster: &Cluster, manifests: &Manifests) -> Result<Vec<Row>> {
    let forward = ["port-forward", "service/nats", ":4222"];
    let broker = Forwarding::start(&forward).await?;
    let bare = async_nats::connect(format!("nats://127.0.0.1:{}", broker.port)).await;
    broker.stop().await;
    let Err(bare) = bare else { anyhow::bail!("the broker lets in a client without a key") };
    ensure!(bare.to_string().contains("authorization"), "without a key: {bare}");
    let mut rows = Vec::new();
    for role in [WORKER, AUDIT] {
        // One that was cut off by the server may end the forwarding.
        let broker = Forwarding::start(&forward).await?;
        let seed = manifests.credential(Overlay::Local, &format!("nats/{}.nk", role.name))?;
        let tried = refused(broker.port, &role, seed).await;
        broker.stop().await;
        tried.with_context(|| role.name)?;
        let (publishes, subscribes) = (role.publishes.len(), role.subscribes.len());
        rows.push(Row::passed(
            "i",
            format!("the key of {} on the cluster's NATS", role.name),
            format!("{publishes} publishes and {subscribes} subscriptions refused, no login without a key"),
            "all refused, a stream that it may read is read",
        ));
    }
    rows.push(restricted(cluster).await?);
    Ok(rows)
}

async fn refused(port: u16, role: &Role, seed: String) -> Result<()> {
    let address = format!("nats://127.0.0.1:{port}");
    let (client, said) = login(&address, role, seed).await?;
    // First what it may do, or the refusals below would prove nothing.
    let own = client.request("$JS.API.STREAM.MSG.GET.TASKS_thumbnail", r#"{"seq":1}"#.into());
    tokio::time::timeout(ANSWER_TIME_MAX, own).await.context("its own stream")?.context("its own stream")?;
    for subject in role.publishes.iter().copied() {
        client.publish(subject, "{}".into()).await?;
        denied(&said, "Publish", subject).await?;
    }
    for subject in role.subscribes.iter().copied() {
        let _subscription = client.subscribe(subject).await?;
        denied(&said, "Subscription", subject).await?;
    }
    Ok(())
}

async fn login(address: &str, role: &Role, seed: String) -> Result<(Client, Said)> {
    let said = Said::default();
    let hears = Arc::clone(&said);
    let options = ConnectOptions::with_nkey(seed)
        .custom_inbox_prefix(format!("_INBOX_{}", role.name))
        .ignore_discovered_servers()
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                hears.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
            }
            std::future::ready(())
        });
    Ok((options.connect(address).await.context("the role's key logs in")?, said))
}

/// Waits until the server has refused exactly this.
async fn denied(said: &Said, what: &str, subject: &str) -> Result<()> {
    let (what, subject) = (format!("permissions violation for {what} to").to_lowercase(), subject.to_lowercase());
    let begun = Instant::now();
    loop {
        let heard = said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_this = |line: &String| line.to_lowercase().contains(&what) && line.to_lowercase().contains(&subject);
        if heard.iter().any(is_this) {
            return Ok(());
        }
        ensure!(begun.elapsed() < ANSWER_TIME_MAX, "{what} {subject} was not refused; the broker said {heard:?}");
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Pod Security has let everything in without a word.
async fn restricted(cluster: &Cluster) -> Result<Row> {
    let events = list(&["events"]).await?;
    let message = |event: &serde_json::Value| event["message"].as_str().unwrap_or_default().to_owned();
    let violations: Vec<String> = events.iter().map(message).filter(|text| text.contains("PodSecurity")).collect();
    ensure!(cluster.warnings.is_empty(), "the API server warned: {:?}", cluster.warnings);
    ensure!(violations.is_empty(), "pods were refused: {violations:?}");
    let pods = list(&["pods"]).await?.len();
    Ok(Row::passed(
        "i",
        "a namespace that enforces `restricted`",
        "0 warnings, 0 refusals",
        format!("0 and 0, {pods} pods"),
    ))
}
