//! Numbers in different files that belong together. They come from `fleet.toml`, and this looks whether they arrived: a
//! component's patch, or a hand-written file, may have changed one.

use serde_json::Value;
use toml::Table;
use workfleet_kubernetes::fleet::{Fleet, Worker};
use workfleet_sdk::SHUTDOWN_MARGIN;

use crate::objects::{Objects, env, label, list, text};

/// What a dispatcher takes to let requests end (docs/architecture.md).
const DISPATCHER_STOP_S: u64 = 10;

pub(crate) fn mistakes(objects: &Objects, fleet: &Fleet) -> Vec<String> {
    let queues = objects.find_hashed("ConfigMap", "queues").map_or("", |map| text(&map["data"]["queues.toml"]));
    let queues: Table = match queues.parse() {
        Ok(queues) => queues,
        Err(error) => return vec![format!("queues.toml: {error}")],
    };
    let mut mistakes = Vec::new();
    for worker in &fleet.workers {
        let queue = queues.get("queue").and_then(|queues| queues.get(&worker.name));
        for (what, found, wanted) in of_worker(objects, worker, queue) {
            if found != wanted {
                mistakes.push(format!("worker {}: {what} is {found}, not {wanted}", worker.name));
            }
        }
    }
    mistakes
}

/// What is compared, what was found, and what has to be.
fn of_worker(objects: &Objects, worker: &Worker, queue: Option<&toml::Value>) -> Vec<(&'static str, String, String)> {
    let nothing = Value::Null;
    let name = format!("worker-{}", worker.name);
    let deployment = objects.find("Deployment", &name).unwrap_or(&nothing);
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let grace = worker.drain_s + SHUTDOWN_MARGIN.as_secs() + u64::from(SHUTDOWN_MARGIN.subsec_nanos() > 0);
    let progress = deployment["spec"]["progressDeadlineSeconds"].as_u64().unwrap_or(0);
    let of_queue = |key: &str| {
        queue
            .and_then(|queue| queue.get(key))
            .map_or("nothing".to_owned(), |value| value.as_str().map_or_else(|| format!("{value:?}"), str::to_owned))
    };
    let mut pairs = vec![
        ("the grace period", pod["terminationGracePeriodSeconds"].to_string(), grace.to_string()),
        (
            "WORKFLEET_DRAIN_TIMEOUT",
            text(env(container, "WORKFLEET_DRAIN_TIMEOUT")).into(),
            format!("{}s", worker.drain_s),
        ),
        ("WORKFLEET_SLOTS", text(env(container, "WORKFLEET_SLOTS")).into(), worker.slots.to_string()),
        ("the queue's timeout", of_queue("timeout"), format!("{}s", worker.timeout_s)),
        ("the queue's lease", of_queue("lease"), worker.lease.clone()),
        ("drain below timeout", (worker.drain_s <= worker.timeout_s).to_string(), "true".into()),
        ("a deadline of the rollout above the grace period", (progress > grace).to_string(), "true".into()),
    ];
    let target = (worker.slots * worker.backlog_per_slot).to_string();
    for scaled in objects.of("ScaledObject").filter(|scaled| scaled["spec"]["scaleTargetRef"]["name"] == *name) {
        let spec = &scaled["spec"];
        pairs.push(("minReplicaCount", spec["minReplicaCount"].to_string(), worker.replicas.min.to_string()));
        pairs.push(("maxReplicaCount", spec["maxReplicaCount"].to_string(), worker.replicas.max.to_string()));
        pairs.push(("fallback", spec["fallback"]["replicas"].to_string(), worker.fallback_replicas.to_string()));
        for trigger in list(&spec["triggers"]) {
            let metadata = &trigger["metadata"];
            let found = [&metadata["targetValue"], &metadata["lagThreshold"]].map(text).concat();
            pairs.push(("the trigger's target", found, target.clone()));
        }
    }
    pairs
}

/// The time that a pod is given to stop is longer than what it takes.
pub(crate) fn leaving(objects: &Objects) -> Vec<String> {
    let mut mistakes = Vec::new();
    if let Some(dispatcher) = objects.find("Deployment", "dispatcher") {
        let pod = &dispatcher["spec"]["template"]["spec"];
        let sleep = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap_or(0);
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap_or(0);
        if sleep == 0 || grace <= sleep + DISPATCHER_STOP_S {
            mistakes.push(format!(
                "dispatcher: {grace} s are not more than {sleep} s before SIGTERM and {DISPATCHER_STOP_S} s after"
            ));
        }
    }
    if let Some(nats) = objects.find("StatefulSet", "nats") {
        let conf = conf(objects, "nats.conf");
        let lame = setting(conf, "lame_duck_duration") + setting(conf, "lame_duck_grace_period");
        let pod = &nats["spec"]["template"]["spec"];
        let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap_or(0);
        if lame < 30 || grace <= lame {
            mistakes.push(format!("nats: {grace} s are not more than {lame} s of lame duck, which is at least 30 s"));
        }
        if !pod["containers"][0]["lifecycle"]["preStop"].to_string().contains("ldm=") {
            mistakes.push("nats: nobody tells it to become a lame duck".to_owned());
        }
    }
    mistakes
}

/// As many copies as servers, and no more bytes than there are.
pub(crate) fn broker(objects: &Objects) -> Vec<String> {
    let Some(nats) = objects.find("StatefulSet", "nats") else { return vec!["there is no broker".to_owned()] };
    let mut mistakes = Vec::new();
    let servers = nats["spec"]["replicas"].as_u64().unwrap_or(0);
    let queues = objects.find_hashed("ConfigMap", "queues").map_or("", |map| text(&map["data"]["queues.toml"]));
    let queues: Table = queues.parse().unwrap_or_default();
    let copies = queues.get("defaults").and_then(|defaults| defaults.get("replicas")).and_then(toml::Value::as_integer);
    if copies.and_then(|copies| u64::try_from(copies).ok()) != Some(servers) {
        mistakes.push(format!("{}: {servers} servers, and {copies:?} copies of a stream", label(nats)));
    }
    let volume = text(&nats["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"]);
    let volume = volume.strip_suffix("Gi").and_then(|gib| gib.parse::<u64>().ok()).unwrap_or(0) << 30;
    let store = setting(conf(objects, "jetstream.conf"), "max_file_store");
    if store == 0 || store >= volume {
        mistakes.push(format!("{}: streams may take {store} of {volume} bytes", label(nats)));
    }
    let doctor = objects.find("CronJob", "doctor").unwrap_or(&Value::Null);
    let asked = &doctor["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["args"];
    let asked = list(asked).iter().filter(|argument| text(argument).starts_with("--monitor=")).count() as u64;
    if asked != servers {
        mistakes.push(format!("doctor: asks {asked} servers, and there are {servers}"));
    }
    mistakes
}

fn conf<'a>(objects: &'a Objects, file: &str) -> &'a str {
    objects.find_hashed("ConfigMap", "nats-config").map_or("", |map| text(&map["data"][file]))
}

/// A number of NATS' configuration; a unit behind it is left out.
fn setting(conf: &str, key: &str) -> u64 {
    let line = conf.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(':'));
    let digits: String = line.unwrap_or_default().trim().chars().take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}
