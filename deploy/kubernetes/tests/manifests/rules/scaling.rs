//! One owner of a number of replicas: with two, each undoes what the other did.

use std::collections::BTreeMap;

use crate::objects::{Objects, label, list, text};

/// Fields of a ScaledObject that KEDA knows (v2.18). Its schema is not among those of Kubernetes, and a cluster drops what it
/// does not know without a word.
const SCALED: [&str; 10] = [
    "advanced",
    "cooldownPeriod",
    "fallback",
    "idleReplicaCount",
    "initialCooldownPeriod",
    "maxReplicaCount",
    "minReplicaCount",
    "pollingInterval",
    "scaleTargetRef",
    "triggers",
];
const TRIGGER: [&str; 6] = ["authenticationRef", "metadata", "metricType", "name", "type", "useCachedMetrics"];

pub(crate) fn mistakes(objects: &Objects) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut owners: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for scaler in objects.of("HorizontalPodAutoscaler").chain(objects.of("ScaledObject")) {
        let target = &scaler["spec"]["scaleTargetRef"];
        // KEDA takes a Deployment where no kind is named.
        let kind = target["kind"].as_str().unwrap_or("Deployment");
        let name = text(&target["name"]);
        owners.entry(format!("{kind} {name}")).or_default().push(label(scaler));
        match objects.find(kind, name) {
            None => mistakes.push(format!("{}: there is no {kind} {name:?} to scale", label(scaler))),
            Some(scaled) if !scaled["spec"]["replicas"].is_null() => {
                mistakes.push(format!("{}: has replicas, which {} owns", label(scaled), label(scaler)));
            }
            Some(_) => {}
        }
        let bounds = ["minReplicaCount", "minReplicas"].iter().find_map(|key| scaler["spec"][key].as_u64());
        let most = ["maxReplicaCount", "maxReplicas"].iter().find_map(|key| scaler["spec"][key].as_u64());
        if bounds.zip(most).is_none_or(|(min, max)| min > max) {
            mistakes.push(format!("{}: its bounds are wrong", label(scaler)));
        }
    }
    let several = owners.iter().filter(|(_, owners)| owners.len() > 1);
    mistakes.extend(several.map(|(target, owners)| format!("{target}: scaled by {}", owners.join(" and "))));
    mistakes
}

/// Misspelt fields of KEDA's objects.
pub(crate) fn unknown_fields(objects: &Objects) -> Vec<String> {
    let unknown = |value: &serde_json::Value, known: &[&str]| {
        let keys = value.as_object().into_iter().flatten().map(|(key, _)| key.clone());
        keys.filter(|key| !known.contains(&key.as_str())).collect::<Vec<_>>()
    };
    let scaled = objects.of("ScaledObject").flat_map(|scaled| {
        let triggers = list(&scaled["spec"]["triggers"]).iter().flat_map(|trigger| unknown(trigger, &TRIGGER));
        let keys = unknown(&scaled["spec"], &SCALED).into_iter().chain(triggers);
        keys.map(|key| format!("{}: {key} is no field that KEDA knows", label(scaled))).collect::<Vec<_>>()
    });
    scaled.collect()
}
