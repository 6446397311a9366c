//! Whatever an object names has to be there: a pod whose Secret is missing waits for ever, and says so only in its events.

use serde_json::Value;

use crate::objects::{Objects, Pod, label, list, text};

pub(crate) fn mistakes(objects: &Objects) -> Vec<String> {
    let mut mistakes = Vec::new();
    for pod in objects.pods() {
        let account = text(&pod.spec["serviceAccountName"]);
        if objects.find("ServiceAccount", account).is_none() {
            mistakes.push(format!("{}: there is no ServiceAccount {account:?}", pod.owner));
        }
        let volumes = list(&pod.spec["volumes"]).iter().flat_map(|volume| of_volume(objects, volume));
        let mounts = pod.containers().flat_map(|container| of_container(objects, &pod, container));
        mistakes.extend(volumes.chain(mounts).map(|mistake| format!("{}: {mistake}", pod.owner)));
    }
    for set in objects.of("StatefulSet") {
        let service = text(&set["spec"]["serviceName"]);
        if objects.find("Service", service).is_none() {
            mistakes.push(format!("{}: there is no Service {service:?}", label(set)));
        }
    }
    for scaler in objects.of("ScaledObject") {
        let named = list(&scaler["spec"]["triggers"]).iter().map(|trigger| text(&trigger["authenticationRef"]["name"]));
        let lost = named.filter(|name| !name.is_empty() && objects.find("TriggerAuthentication", name).is_none());
        mistakes.extend(lost.map(|name| format!("{}: there is no TriggerAuthentication {name:?}", label(scaler))));
    }
    for authentication in objects.of("TriggerAuthentication") {
        for reference in list(&authentication["spec"]["secretTargetRef"]) {
            let wrong = missing(objects, "Secret", text(&reference["name"]), &[text(&reference["key"])]);
            mistakes.extend(wrong.map(|mistake| format!("{}: {mistake}", label(authentication))));
        }
    }
    mistakes
}

/// What is missing of a Secret or a ConfigMap.
fn missing(objects: &Objects, kind: &str, name: &str, keys: &[&str]) -> Option<String> {
    let Some(there) = objects.keys(kind, name) else { return Some(format!("there is no {kind} {name:?}")) };
    let lost = keys.iter().find(|key| !there.iter().any(|there| there == *key))?;
    Some(format!("{kind} {name} has no key {lost:?}"))
}

/// The Secrets and ConfigMaps of a volume: kind, name, the part that names it.
pub(crate) fn sources(volume: &Value) -> Vec<(&'static str, String, Value)> {
    let mut found = Vec::new();
    let mut add = |part: &Value, key: &str| {
        for (field, kind) in [("secret", "Secret"), ("configMap", "ConfigMap")] {
            let source = &part[field];
            if !source.is_null() {
                let key = if kind == "Secret" { key } else { "name" };
                found.push((kind, text(&source[key]).to_owned(), source.clone()));
            }
        }
    };
    add(volume, "secretName");
    list(&volume["projected"]["sources"]).iter().for_each(|source| add(source, "name"));
    found
}

fn of_volume(objects: &Objects, volume: &Value) -> Vec<String> {
    let claim = text(&volume["persistentVolumeClaim"]["claimName"]);
    let claim = (!claim.is_empty() && objects.find("PersistentVolumeClaim", claim).is_none())
        .then(|| format!("there is no PersistentVolumeClaim {claim:?}"));
    let sources = sources(volume).into_iter().filter(|(_, _, source)| source["optional"] != true);
    let lost = sources.filter_map(|(kind, name, source)| {
        let keys: Vec<&str> = list(&source["items"]).iter().map(|item| text(&item["key"])).collect();
        missing(objects, kind, &name, &keys)
    });
    lost.chain(claim).collect()
}

fn of_container(objects: &Objects, pod: &Pod<'_>, container: &Value) -> Vec<String> {
    let claims = list(&pod.object["spec"]["volumeClaimTemplates"]).iter().map(|claim| text(&claim["metadata"]["name"]));
    let volumes: Vec<&str> =
        list(&pod.spec["volumes"]).iter().map(|volume| text(&volume["name"])).chain(claims).collect();
    let mounts = list(&container["volumeMounts"]).iter().map(|mount| text(&mount["name"]));
    let lost = mounts.filter(|name| !volumes.contains(name)).map(|name| format!("there is no volume {name:?}"));
    let named = list(&container["env"]).iter().filter_map(|entry| {
        let reference = &entry["valueFrom"]["configMapKeyRef"];
        if reference.is_null() || reference["optional"] == true {
            return None;
        }
        missing(objects, "ConfigMap", text(&reference["name"]), &[text(&reference["key"])])
    });
    let whole = list(&container["envFrom"]).iter().filter_map(|source| {
        let reference = &source["configMapRef"];
        (!reference.is_null()).then(|| missing(objects, "ConfigMap", text(&reference["name"]), &[]))?
    });
    lost.chain(named).chain(whole).collect()
}
