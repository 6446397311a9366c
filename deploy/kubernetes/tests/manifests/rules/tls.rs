//! TLS is on between all parts or between none, and callers use the names that are in certificates.
//!
//! A part that is left out does not fail at an apply: a collector waits for spans that come in clear, an autoscaler keeps what
//! runs. So it is looked for here. Names are a part of it: kustomize does not look into addresses, and a `namePrefix` or
//! another `namespace:` in an overlay would leave them as they are.

use serde_json::Value;

use crate::objects::{Objects, Pod, env, label, list, text};

/// Where the authority is mounted, and a server's own certificate.
const CA: &str = "/etc/workfleet/ca/ca.crt";
const CERTIFICATE: &str = "/etc/workfleet/tls/tls.crt";
const KEY: &str = "/etc/workfleet/tls/tls.key";
/// What a TriggerAuthentication has to give KEDA for an authority of our own, beside the token.
const TRIGGER_PARAMETERS: [&str; 3] = ["ca", "cert", "key"];

/// Whether the build has TLS: as the servers of NATS see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    On,
    Off,
}

impl Tls {
    fn of(objects: &Objects) -> Self {
        let conf = objects.find_hashed("ConfigMap", "nats-config").map(|config| text(&config["data"]["tls.conf"]));
        if conf.is_some_and(|conf| conf.contains("cert_file:")) { Self::On } else { Self::Off }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::On => "https://",
            Self::Off => "http://",
        }
    }
}

pub(crate) fn mistakes(objects: &Objects) -> Vec<String> {
    let tls = Tls::of(objects);
    let mut mistakes = nats(objects, tls);
    for pod in objects.pods() {
        let found = pod.containers().flat_map(|container| of_container(&pod, container, tls));
        mistakes.extend(found.map(|mistake| format!("{}: {mistake}", pod.owner)).collect::<Vec<_>>());
    }
    for scaler in objects.of("ScaledObject") {
        let triggers =
            list(&scaler["spec"]["triggers"]).iter().flat_map(|trigger| trigger_mistakes(objects, trigger, tls));
        mistakes.extend(triggers.map(|mistake| format!("{}: {mistake}", label(scaler))));
    }
    mistakes
}

/// Routes between servers are as safe as their clients.
fn nats(objects: &Objects, tls: Tls) -> Vec<String> {
    let Some(config) = objects.find_hashed("ConfigMap", "nats-config") else {
        return vec!["there is no ConfigMap nats-config".to_owned()];
    };
    let file = |name: &str| text(&config["data"][name]);
    let clustered = file("cluster.conf").contains("routes:");
    let verified = file("routes-tls.conf").contains("verify_cert_and_check_known_urls: true");
    let included = file("cluster.conf").contains("include \"routes-tls.conf\"");
    let mut mistakes = Vec::new();
    if tls == Tls::On && clustered && !(verified && included) {
        mistakes.push("nats-config: clients use TLS and routes do not (`tls` comes after `nats-cluster`)".to_owned());
    }
    mistakes
}

fn of_container(pod: &Pod<'_>, container: &Value, tls: Tls) -> Vec<String> {
    let variable = |name: &str| text(env(container, name));
    let mut wanted = Vec::new();
    if !variable("WORKFLEET_NATS_URL").is_empty() {
        wanted.push(("WORKFLEET_NATS_CA_FILE", CA));
    }
    if !variable("WORKFLEET_HTTP_ADDR").is_empty() {
        wanted.extend([("WORKFLEET_TLS_CERT_FILE", CERTIFICATE), ("WORKFLEET_TLS_KEY_FILE", KEY)]);
    }
    let endpoint = variable("OTEL_EXPORTER_OTLP_ENDPOINT");
    let mut mistakes = Vec::new();
    if !endpoint.is_empty() {
        wanted.push(("OTEL_EXPORTER_OTLP_CERTIFICATE", CA));
        if !endpoint.starts_with(tls.scheme()) {
            mistakes.push(format!("TLS is {tls:?}, and traces go to {endpoint}"));
        }
    }
    let wrong = wanted.into_iter().filter(|(name, path)| variable(name) != if tls == Tls::On { path } else { "" });
    mistakes.extend(wrong.map(|(name, _)| format!("TLS is {tls:?}, and {name} is {:?}", variable(name))));
    let component = pod.labels.get("app.kubernetes.io/component").map_or("", String::as_str);
    let takes_traces = ["jaeger", "otel-collector"].contains(&component);
    let reads = list(&container["args"]).iter().any(|argument| text(argument).ends_with("/tls.yaml"));
    if takes_traces && reads != (tls == Tls::On) {
        mistakes.push(format!("TLS is {tls:?}, and tls.yaml is read: {reads}"));
    }
    mistakes
}

fn trigger_mistakes(objects: &Objects, trigger: &Value, tls: Tls) -> Vec<String> {
    if trigger["type"] != "metrics-api" {
        return Vec::new();
    }
    let mut mistakes = Vec::new();
    let url = text(&trigger["metadata"]["url"]);
    let service = objects.of("Service").find(|service| {
        let names = (text(&service["metadata"]["name"]), text(&service["metadata"]["namespace"]));
        url.starts_with(&format!("{}{}.{}.svc:8080/", tls.scheme(), names.0, names.1))
    });
    if service.is_none() {
        mistakes.push(format!("TLS is {tls:?}, and {url} is no Service of this build"));
    }
    if tls == Tls::On {
        if trigger["metadata"]["authMode"] != "bearer,tls" {
            mistakes.push("KEDA takes the authority only with authMode \"bearer,tls\"".to_owned());
        }
        let name = text(&trigger["authenticationRef"]["name"]);
        let parameters = objects
            .find("TriggerAuthentication", name)
            .map_or(&[][..], |found| list(&found["spec"]["secretTargetRef"]));
        let given = |parameter: &&str| parameters.iter().any(|entry| entry["parameter"] == **parameter);
        let missing = TRIGGER_PARAMETERS.iter().filter(|parameter| !given(parameter));
        mistakes.extend(missing.map(|parameter| format!("KEDA takes no authority without {parameter:?}")));
    }
    mistakes
}
