//! What selects has to find something: a Service that finds no pod, or a budget that protects none, says nothing of it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::objects::{Objects, Pod, label, labels, list, text};

pub(crate) fn mistakes(objects: &Objects) -> Vec<String> {
    let pods = objects.pods();
    let mut mistakes = Vec::new();
    for pod in pods.iter().filter(|pod| !pod.ends()) {
        let selector = &pod.object["spec"]["selector"];
        if !matches(selector, &pod.labels) {
            mistakes.push(format!("{}: does not select its own pods", pod.owner));
        }
        let others = pods.iter().filter(|other| other.owner != pod.owner && matches(selector, &other.labels));
        mistakes.extend(others.map(|other| format!("{}: selects pods of {}", pod.owner, other.owner)));
    }
    for service in objects.of("Service") {
        if selected(service, &pods).next().is_none() {
            mistakes.push(format!("{}: selects no pod", label(service)));
        }
    }
    for budget in objects.of("PodDisruptionBudget") {
        let selector = &budget["spec"]["selector"];
        let protected = pods.iter().filter(|pod| matches(selector, &pod.labels)).count();
        if protected != 1 {
            mistakes.push(format!("{}: protects the pods of {protected}, not of one", label(budget)));
        }
        if budget["spec"]["maxUnavailable"].is_null() {
            mistakes.push(format!("{}: no maxUnavailable; a minimum may block every drain", label(budget)));
        }
    }
    for pod in &pods {
        for spread in list(&pod.spec["topologySpreadConstraints"]) {
            if !matches(&spread["labelSelector"], &pod.labels) {
                mistakes.push(format!("{}: spreads others' pods", pod.owner));
            }
        }
    }
    mistakes
}

/// Pods of a Service, which selects by labels alone.
fn selected<'a>(service: &Value, pods: &'a [Pod<'a>]) -> impl Iterator<Item = &'a Pod<'a>> {
    let wanted = labels(&service["spec"]["selector"]);
    pods.iter().filter(move |pod| !wanted.is_empty() && includes(&pod.labels, &wanted))
}

fn includes(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// A selector with `matchLabels`, which is all that is used here; an empty one is a mistake.
fn matches(selector: &Value, pod: &BTreeMap<String, String>) -> bool {
    let wanted = labels(&selector["matchLabels"]);
    !wanted.is_empty() && includes(pod, &wanted)
}

pub(crate) fn ports(objects: &Objects) -> Vec<String> {
    let pods = objects.pods();
    let mut mistakes = Vec::new();
    for pod in &pods {
        for container in pod.containers() {
            for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
                let named = ["httpGet", "grpc", "tcpSocket"].map(|how| &container[probe][how]["port"]);
                let lost = named.into_iter().filter(|port| !port.is_null() && !has_port(container, port));
                mistakes.extend(lost.map(|port| format!("{}: {probe} asks at {port}, which is no port", pod.owner)));
            }
        }
        let annotation = &pod.object["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"];
        let number = text(annotation).parse::<u64>().ok();
        if number.is_some_and(|number| !pod.containers().any(|container| has_port(container, &number.into()))) {
            mistakes.push(format!("{}: is to be scraped at {annotation}, which is no port", pod.owner));
        }
    }
    for service in objects.of("Service") {
        for port in list(&service["spec"]["ports"]) {
            let target = if port["targetPort"].is_null() { &port["port"] } else { &port["targetPort"] };
            let lost =
                selected(service, &pods).filter(|pod| !pod.containers().any(|container| has_port(container, target)));
            mistakes.extend(lost.map(|pod| format!("{}: {} has no port {target}", label(service), pod.owner)));
        }
    }
    mistakes
}

fn has_port(container: &Value, port: &Value) -> bool {
    list(&container["ports"]).iter().any(|own| own["name"] == *port || own["containerPort"] == *port)
}
