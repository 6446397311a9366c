//! Files that a program is told of have to be mounted; and secrets come as files, never as variables, which everybody sees who
//! may read the pod, and which crash reports carry away.

use serde_json::Value;

use super::references::sources;
use crate::objects::{Objects, Pod, list, text};

/// Where files are mounted; other paths are the image's own.
const MOUNTED: [&str; 2] = ["/etc/workfleet/", "/etc/"];
/// Paths that images bring.
const OF_IMAGES: [&str; 1] = ["/etc/ssl/"];

pub(crate) fn mistakes(objects: &Objects) -> Vec<String> {
    let mut mistakes = Vec::new();
    for pod in objects.pods() {
        for container in pod.containers() {
            let lost = paths(container).into_iter().filter_map(|path| lost(objects, &pod, container, &path));
            mistakes.extend(lost.map(|mistake| format!("{}: {mistake}", pod.owner)));
        }
    }
    mistakes
}

/// Every path below /etc in variables and arguments, also behind a `=`.
fn paths(container: &Value) -> Vec<String> {
    let env = list(&container["env"]).iter().map(|entry| text(&entry["value"]));
    let words = list(&container["command"]).iter().chain(list(&container["args"])).map(text);
    let words =
        env.chain(words).map(|word| word.split_once("=/").map_or(word.to_owned(), |(_, path)| format!("/{path}")));
    let ours = |path: &String| MOUNTED.iter().any(|start| path.starts_with(start));
    words.filter(ours).filter(|path| OF_IMAGES.iter().all(|start| !path.starts_with(start))).collect()
}

fn lost(objects: &Objects, pod: &Pod<'_>, container: &Value, path: &str) -> Option<String> {
    let mounts = list(&container["volumeMounts"]).iter();
    let below = |mount: &&Value| {
        let rest = path.strip_prefix(text(&mount["mountPath"]).trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let Some(mount) = mounts.filter(below).max_by_key(|mount| text(&mount["mountPath"]).len()) else {
        return Some(format!("{path} is mounted from nowhere"));
    };
    let rest = path.strip_prefix(text(&mount["mountPath"])).unwrap_or_default().trim_matches('/');
    let volume = list(&pod.spec["volumes"]).iter().find(|volume| volume["name"] == mount["name"])?;
    let sources = sources(volume);
    if rest.is_empty() || sources.is_empty() || sources.iter().any(|(_, _, source)| source["optional"] == true) {
        return None;
    }
    let mut files = sources.iter().flat_map(|(kind, name, source)| {
        let items = list(&source["items"]);
        let chosen = items.iter().map(|item| text(&item["path"]).to_owned()).collect::<Vec<_>>();
        if items.is_empty() { objects.keys(kind, name).unwrap_or_default() } else { chosen }
    });
    (!files.any(|file| file == rest)).then(|| format!("{path} is no file of volume {}", mount["name"]))
}

pub(crate) fn secrets_in_env(objects: &Objects) -> Vec<String> {
    let mut mistakes = Vec::new();
    for pod in objects.pods() {
        for container in pod.containers() {
            let from = list(&container["envFrom"]).iter().filter(|source| !source["secretRef"].is_null());
            mistakes.extend(from.map(|_| format!("{}: has all variables of a Secret", pod.owner)));
            for entry in list(&container["env"]) {
                let (name, value) = (text(&entry["name"]), text(&entry["value"]));
                // Seeds of nkeys, tokens of ours, keys in PEM, passwords in addresses.
                let looks = value.starts_with("SU") && value.len() == 58
                    || ["wf_", "whsec_", "-----BEGIN"].iter().any(|start| value.starts_with(start))
                    || value.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
                let says = ["PASSWORD", "SECRET", "TOKEN", "SEED"].iter().any(|end| name.ends_with(end));
                if !entry["valueFrom"]["secretKeyRef"].is_null() || looks || says {
                    mistakes.push(format!("{}: {name} is a secret", pod.owner));
                }
            }
        }
    }
    mistakes
}
