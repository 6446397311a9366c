//! A load client as a pod, and what it has to say.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};
use workfleet_tests::Probe;

use crate::kubectl::{apply, get, kubectl};

/// The Secret with what the load clients bring: `token`, and with TLS `ca.crt`.
pub(crate) const LOAD_SECRET: &str = "load";
/// How often a pod's log is read.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// How long a client may need beyond the time that it gives its tasks.
const MARGIN: Duration = Duration::from_secs(60);
/// The user of every image of the project.
const USER: u32 = 65532;

/// Runs of this process, so that no two have the same name and idempotency keys.
static RUNS: AtomicUsize = AtomicUsize::new(0);

/// What a client is to do.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    queue: &'static str,
    input: Option<Value>,
    tasks: usize,
    rate: f64,
    wait: Duration,
}

impl Plan {
    /// So many pictures to `thumbnail`.
    pub(crate) fn images(tasks: usize) -> Self {
        Self { queue: "thumbnail", input: None, tasks, rate: 50.0, wait: Duration::from_secs(180) }
    }

    /// So many tasks that do what `probe` says.
    pub(crate) fn probes(tasks: usize, probe: &Probe) -> Self {
        Self { queue: "probe", input: Some(probe.json()), ..Self::images(tasks) }
    }

    /// Submits so many a second; 50 unless set.
    pub(crate) fn per_second(self, rate: f64) -> Self {
        Self { rate, ..self }
    }

    /// A task that has not ended after that time, counted from the first submit, is lost; 180 s unless set.
    pub(crate) fn lost_after(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }
}

/// A client at work.
#[derive(Debug)]
pub(crate) struct Load {
    pod: String,
    plan: Plan,
    begun: Instant,
}

/// One task's end.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) id: String,
    pub(crate) trace: String,
    pub(crate) attempt: u64,
    pub(crate) task: Value,
}

/// What became of all tasks.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) ended: Vec<Ended>,
    pub(crate) summary: Value,
}

impl Load {
    /// Starts the pod. `tls` says that the Service speaks https.
    pub(crate) async fn start(version: &str, tls: bool, plan: Plan) -> Result<Self> {
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let pod = format!("load-{}-{number}", std::process::id());
        apply(&manifest(&pod, version, tls, &plan)).await?;
        Ok(Self { pod, plan, begun: Instant::now() })
    }

    /// Waits until so many tasks are stored.
    pub(crate) async fn accepted(&self, count: u64) -> Result<()> {
        self.until(&format!("{count} tasks are stored"), |progress| progress["accepted"].as_u64() >= Some(count)).await
    }

    /// Waits until so many tasks have ended.
    pub(crate) async fn ended(&self, count: u64) -> Result<()> {
        self.until(&format!("{count} tasks have ended"), |progress| progress["ended"].as_u64() >= Some(count)).await
    }

    /// Fails where everything was submitted already.
    pub(crate) async fn still_submits(&self, tasks: u64) -> Result<()> {
        let lines = self.last_lines().await;
        let accepted = lines.iter().rev().find_map(|line| line["progress"]["accepted"].as_u64());
        ensure!(
            accepted.is_some_and(|accepted| accepted < tasks),
            "the load was over too early: {accepted:?} of {tasks}"
        );
        Ok(())
    }

    /// The end of its log. A pod that has not started has none yet.
    async fn last_lines(&self) -> Vec<Value> {
        let log = kubectl(&["logs", &self.pod, "--tail=50"]).await.map(|output| output.out).unwrap_or_default();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    async fn until(&self, what: &str, seen: impl Fn(&Value) -> bool) -> Result<()> {
        while self.begun.elapsed() < self.plan.wait + MARGIN {
            let lines = self.last_lines().await;
            if lines.iter().any(|line| line["summary"].is_object() || seen(&line["progress"])) {
                return Ok(());
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        bail!("{}: waited in vain: {what}", self.pod)
    }

    /// Waits until it has ended, and reads what it has written.
    pub(crate) async fn report(self) -> Result<Report> {
        loop {
            let phase = get(&["pod", &self.pod]).await?["status"]["phase"].clone();
            if phase == "Succeeded" || phase == "Failed" {
                break;
            }
            let waited = self.begun.elapsed();
            ensure!(waited < self.plan.wait + MARGIN, "{} is still {phase} after {waited:?}", self.pod);
            tokio::time::sleep(LOOK_PAUSE).await;
        }
        let log = kubectl(&["logs", &self.pod]).await?.out;
        let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let Some(summary) = lines.iter().find(|line| line["summary"].is_object()) else {
            bail!("{} has no summary; the end of its log: {:?}", self.pod, log.lines().last());
        };
        let ended = lines.iter().filter(|line| line["ended"].is_object()).map(|line| ended(&line["ended"])).collect();
        Ok(Report { ended, summary: summary["summary"].clone() })
    }
}

impl Report {
    /// Makes sure that every task has completed.
    pub(crate) fn whole(&self, tasks: usize) -> Result<&Self> {
        let count = |name: &str| self.summary[name].as_u64().unwrap_or_default();
        let bad = count("failed") + count("refused") + count("lost");
        ensure!(bad == 0 && count("completed") == tasks as u64, "not all of {tasks} completed: {}", self.summary);
        Ok(self)
    }

    /// Makes sure that no task has needed a second attempt.
    pub(crate) fn first_attempts(&self) -> Result<&Self> {
        let more: Vec<_> = self.ended.iter().filter(|ended| ended.attempt != 1).collect();
        ensure!(more.is_empty(), "attempts were spent: {} of {}: {more:?}", more.len(), self.ended.len());
        Ok(self)
    }

    /// How many have ended in this state.
    pub(crate) fn ended_as(&self, state: &str) -> usize {
        self.ended.iter().filter(|ended| ended.task["state"] == state).count()
    }

    /// For the table.
    pub(crate) fn words(&self) -> String {
        let attempts: BTreeMap<u64, usize> = self.ended.iter().fold(BTreeMap::new(), |mut seen, ended| {
            *seen.entry(ended.attempt).or_default() += 1;
            seen
        });
        let attempts: Vec<String> = attempts.iter().map(|(attempt, tasks)| format!("{tasks} x {attempt}")).collect();
        let took_s = self.summary["took_ms"].as_f64().unwrap_or_default() / 1e3;
        format!(
            "{} completed, {} lost, attempts {}, {} submits repeated, {took_s:.0} s",
            self.summary["completed"],
            self.summary["lost"],
            attempts.join(", "),
            self.summary["repeated_submits"],
        )
    }
}

fn ended(line: &Value) -> Ended {
    let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
    let attempt = line["attempt"].as_u64().unwrap_or_default();
    Ended { id: text("id"), trace: text("trace"), attempt, task: line.clone() }
}

fn manifest(pod: &str, version: &str, tls: bool, plan: &Plan) -> Value {
    let scheme = if tls { "https" } else { "http" };
    let mut arguments = vec![
        format!("--url={scheme}://dispatcher:8080"),
        "--token-file=/etc/workfleet/load/token".to_owned(),
        format!("--run={pod}"),
        format!("--queue={}", plan.queue),
        format!("--tasks={}", plan.tasks),
        format!("--rate={}", plan.rate),
        format!("--wait-s={}", plan.wait.as_secs()),
    ];
    arguments.extend(plan.input.as_ref().map(|input| format!("--input={input}")));
    if tls {
        arguments.push("--ca-file=/etc/workfleet/load/ca.crt".to_owned());
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": pod, "labels": {
            "app.kubernetes.io/name": "workfleet-load", "app.kubernetes.io/component": "load",
            "workfleet.dev/client": "true",
        }},
        "spec": {
            "restartPolicy": "Never", "automountServiceAccountToken": false, "enableServiceLinks": false,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "containers": [{
                "name": "load", "image": format!("workfleet/load:{version}"), "imagePullPolicy": "IfNotPresent",
                "args": arguments,
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
                },
                "resources": { "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "256Mi" } },
                "volumeMounts": [{ "name": "load", "mountPath": "/etc/workfleet/load", "readOnly": true }],
            }],
            "volumes": [{ "name": "load", "secret": { "secretName": LOAD_SECRET, "defaultMode": 0o440 } }],
        },
    })
}
