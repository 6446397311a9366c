//! What pods there are, and whether any of them was restarted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::Value;

use crate::kubectl::{kubectl, kubectl_within, list};

/// How long a rollout may take: pods of the old version may use up their grace.
const ROLLOUT_TIME_MAX: Duration = Duration::from_secs(240);
const LOOK_PAUSE: Duration = Duration::from_millis(500);

/// How often the containers of each pod were restarted, by the pod's name.
pub(crate) type Restarts = BTreeMap<String, u64>;

/// The restarts of the pods with these labels.
pub(crate) async fn restarts(selector: &str) -> Result<Restarts> {
    let pods = list(&["pods", "--selector", selector]).await?;
    let count = |pod: &Value| {
        let containers = pod["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
        containers.iter().filter_map(|container| container["restartCount"].as_u64()).sum()
    };
    Ok(pods.iter().map(|pod| (name(pod), count(pod))).collect())
}

/// Makes sure that every pod of before is still there, and that none was restarted meanwhile, newer ones included.
pub(crate) async fn nobody_restarted(selector: &str, before: &Restarts) -> Result<()> {
    let now = restarts(selector).await?;
    let stayed = before.iter().all(|(pod, count)| now.get(pod) == Some(count));
    let newer = now.iter().all(|(pod, count)| before.contains_key(pod) || *count == 0);
    ensure!(stayed && newer, "pods were restarted or replaced: {before:?} -> {now:?}");
    Ok(())
}

/// The names of the pods that are there and are not on their way out.
pub(crate) async fn names(selector: &str) -> Result<Vec<String>> {
    let pods = list(&["pods", "--selector", selector]).await?;
    Ok(pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()).map(name).collect())
}

/// Waits until so many pods are there, those on their way out included, and all of them are Ready.
pub(crate) async fn ready(selector: &str, count: usize, limit: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        let pods = list(&["pods", "--selector", selector]).await?;
        if pods.len() == count && pods.iter().all(|pod| ready_since(pod).is_some()) {
            return Ok(());
        }
        let names: Vec<String> = pods.iter().map(name).collect();
        ensure!(begun.elapsed() < limit, "{selector}: not {count} Ready pods in {limit:?}, but {names:?}");
        tokio::time::sleep(LOOK_PAUSE).await;
    }
}

/// Since when a pod is Ready, RFC 3339, whole seconds.
pub(crate) fn ready_since(pod: &Value) -> Option<String> {
    let conditions = pod["status"]["conditions"].as_array()?;
    let ready = conditions.iter().find(|condition| condition["type"] == "Ready" && condition["status"] == "True")?;
    Some(ready["lastTransitionTime"].as_str()?.to_owned())
}

/// Sets how many replicas a Deployment has.
pub(crate) async fn scale(deployment: &str, replicas: usize) -> Result<()> {
    kubectl(&["scale", "deployment", deployment, &format!("--replicas={replicas}")]).await?;
    Ok(())
}

/// Waits until a Deployment or StatefulSet is as it is described.
pub(crate) async fn rolled_out(what: &str) -> Result<()> {
    kubectl_within(ROLLOUT_TIME_MAX, &["rollout", "status", what]).await?;
    Ok(())
}

/// The selector of a worker's pods.
pub(crate) fn worker(queue: &str) -> String {
    format!("workfleet.dev/queue={queue}")
}

fn name(pod: &Value) -> String {
    pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()
}
