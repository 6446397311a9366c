//! One entry, `[worker.<name>]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use workfleet_proto::id::QueueName;

use super::read::resources;
use super::section::{Section, name, names, number, seconds, switch, table, text};
use super::{Replicas, Secret, SecretKey, Worker};

/// What may stand under `[defaults]`.
pub(super) const DEFAULTS: [&str; 11] = [
    "replicas",
    "slots",
    "timeout",
    "drain",
    "lease",
    "backlog_per_slot",
    "fallback_replicas",
    "scale_to_zero",
    "cpu",
    "memory",
    "memory_limit",
];
/// Keys of the queues file that follow from an entry.
const DERIVED_KEYS: [&str; 7] = ["proto", "descriptors", "service", "timeout", "lease", "children", "replicas"];
/// Variables that the manifests set, each from its own key or from the place where it runs.
const DERIVED_VARS: [&str; 9] = [
    "WORKFLEET_SLOTS",
    "WORKFLEET_DRAIN_TIMEOUT",
    "WORKFLEET_ADMIN_ADDR",
    "WORKFLEET_PREFIX",
    "WORKFLEET_LOG",
    "POD_NAME",
    "POD_NAMESPACE",
    "WORKFLEET_ADDR_FILE",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
];
/// Where a worker may go beyond the cluster; the network policies know these.
const EGRESS: [&str; 3] = ["internet-http", "internet-https", "smtp"];
/// Where a worker's own secrets are mounted.
const SECRETS_DIR: &str = "/etc/workfleet/secrets";
/// Longest name: `worker-<name>` and what Kubernetes adds to it must fit 63 characters.
const NAME_BYTES_MAX: usize = 40;

/// Reads one, and notes what is wrong with it.
pub(super) fn worker(
    name: &str,
    entry: &Value,
    defaults: &Table,
    dir: &Path,
    mistakes: &mut Vec<String>,
) -> Option<Worker> {
    let place = format!("worker.{name}");
    if name.parse::<QueueName>().is_err() || name.len() > NAME_BYTES_MAX {
        mistakes
            .push(format!("{place}: no name of a worker; use a-z, 0-9 and -, a letter first, up to {NAME_BYTES_MAX}"));
    }
    let Some(entry) = entry.as_table() else {
        mistakes.push(format!("{place}: not a table"));
        return None;
    };
    let mut section = Section::new(&place, entry, Some(defaults));
    let worker = fields(name, &mut section, dir);
    mistakes.extend(section.finish());
    worker
}

fn fields(name: &str, section: &mut Section<'_>, dir: &Path) -> Option<Worker> {
    let proto = section.required("proto", |value| contract(value, dir));
    let image = section.optional("image", text).unwrap_or_else(|| format!("workfleet/{name}"));
    let replicas = section.required("replicas", replicas);
    let slots = section.required("slots", number(1, 4_096));
    let timeout_s = section.required("timeout", seconds);
    let drain_s = section.optional("drain", seconds).or(timeout_s);
    // The queues file is checked as a whole; here it only has to be a duration.
    let lease = section.required("lease", |value| seconds(value).and_then(|_| text(value)));
    let backlog_per_slot = section.required("backlog_per_slot", number(1, 10_000));
    let fallback_replicas = section.required("fallback_replicas", number(1, 10_000));
    let scale_to_zero = section.required("scale_to_zero", switch);
    let env = section.optional("env", env).unwrap_or_default();
    let secrets = section.optional("secrets", secrets).unwrap_or_default();
    let egress = section.optional("egress", egress).unwrap_or_default();
    let children = section.optional("children", names).unwrap_or_default();
    let resources = resources(section);
    let queue = section.optional("queue", queue).unwrap_or_default();
    if drain_s > timeout_s {
        section.mistake("drain", "longer than the timeout: no attempt runs for so long");
    }
    if let (Some(replicas), Some(fallback)) = (replicas, fallback_replicas)
        && fallback > replicas.max
    {
        section.mistake("fallback_replicas", "more than replicas.max");
    }
    Some(Worker {
        name: name.to_owned(),
        proto: proto?,
        image,
        replicas: replicas?,
        slots: slots?,
        timeout_s: timeout_s?,
        drain_s: drain_s?,
        lease: lease?,
        backlog_per_slot: backlog_per_slot?,
        fallback_replicas: fallback_replicas?,
        scale_to_zero: scale_to_zero?,
        env,
        secrets,
        egress,
        children,
        resources: resources?,
        queue,
    })
}

fn contract(value: &Value, dir: &Path) -> Result<PathBuf, String> {
    let path = dir.join(text(value)?);
    if path.is_file() { Ok(path) } else { Err(format!("there is no file {}", path.display())) }
}

fn replicas(value: &Value) -> Result<Replicas, String> {
    let wrong = "write { min = 1, max = 10 }";
    let table = table(value).map_err(|_| wrong.to_owned())?;
    if table.len() != 2 {
        return Err(wrong.to_owned());
    }
    let bound = |key: &str| table.get(key).ok_or_else(|| wrong.to_owned()).and_then(number(1, 10_000));
    let replicas = Replicas { min: bound("min")?, max: bound("max")? };
    if replicas.min > replicas.max { Err("min is more than max".to_owned()) } else { Ok(replicas) }
}

fn env(value: &Value) -> Result<BTreeMap<String, String>, String> {
    let upper = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
    };
    let mut env = BTreeMap::new();
    for (name, value) in table(value)? {
        if DERIVED_VARS.contains(&name.as_str()) || name.starts_with("WORKFLEET_NATS_") {
            return Err(format!("{name} is set by the manifests"));
        }
        // Only a path of one, or its name, may be said here: a variable is seen by whoever may read the pod.
        let secret = ["PASSWORD", "SECRET", "TOKEN"].iter().any(|word| name.ends_with(word));
        if !upper(name) || secret {
            return Err(format!("{name} is no variable that may stand here; secrets are files"));
        }
        env.insert(name.clone(), text(value).map_err(|mistake| format!("{name}: {mistake}"))?);
    }
    Ok(env)
}

fn secrets(value: &Value) -> Result<Vec<Secret>, String> {
    let list = value.as_array().ok_or_else(|| "not a list of secrets".to_owned())?;
    list.iter().map(secret).collect()
}

fn secret(value: &Value) -> Result<Secret, String> {
    let nothing = Table::new();
    let mut section = Section::new("secret", table(value)?, None);
    let name = section.required("name", name);
    let optional = section.optional("optional", switch).unwrap_or(false);
    let keys = section.optional("keys", table).unwrap_or(&nothing);
    if optional != keys.is_empty() {
        section.mistake("keys", "a secret is either optional or has keys");
    }
    let made = keys.iter().map(|(key, how)| match how.as_str() {
        Some("whsec") => Ok((key.clone(), SecretKey::Whsec)),
        Some("yours") => Ok((key.clone(), SecretKey::Yours)),
        _ => Err(format!("{key}: made by neither \"whsec\" nor \"yours\"")),
    });
    let keys = made.collect::<Result<BTreeMap<_, _>, _>>()?;
    let mistakes = section.finish();
    match name {
        Some(name) if mistakes.is_empty() => Ok(Secret { path: format!("{SECRETS_DIR}/{name}"), name, keys, optional }),
        _ => Err(mistakes.join("; ")),
    }
}

fn egress(value: &Value) -> Result<Vec<String>, String> {
    let names = names(value)?;
    match names.iter().find(|name| !EGRESS.contains(&name.as_str())) {
        Some(unknown) => Err(format!("{unknown} is not one of {}", EGRESS.join(", "))),
        None => Ok(names),
    }
}

fn queue(value: &Value) -> Result<Table, String> {
    let queue = table(value)?;
    match queue.keys().find(|key| DERIVED_KEYS.contains(&key.as_str())) {
        Some(key) => Err(format!("{key} follows from the worker's own keys, or from nats.servers")),
        None => Ok(queue.clone()),
    }
}
