//! One owner of a number of replicas: with two, each undoes what the other did.

use std::collections::BTreeMap;

use crate::objects::{Objects, label, text};

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
