//! A part that is left out of TLS, or in it alone, is noticed.

use serde_json::json;

use super::{Broken, container};
use crate::objects::text;
use crate::rules::tls::mistakes;

/// A build with a text replaced in all its objects, as kustomize's own transformers would.
fn replaced(build: &str, from: &str, to: &str) -> Broken {
    let mut broken = Broken::build(build);
    let before = serde_json::to_string(&broken.objects).expect("JSON can be written");
    let after = before.replace(from, to);
    assert_ne!(before, after, "{from:?} is in {build}");
    broken.objects = serde_json::from_str(&after).expect("it is still JSON");
    broken
}

/// Place of a container's variable.
fn variable(broken: &mut Broken, kind: &str, name: &str, variable: &str) -> String {
    let object = broken.object(kind, name);
    let env = object.pointer(&container("env")).and_then(|env| env.as_array()).expect("it has variables");
    let place = env.iter().position(|entry| text(&entry["name"]) == variable).expect("it has this one");
    container(&format!("env/{place}/value"))
}

fn set(build: &str, owner: (&str, &str), name: &str, value: &str) -> Broken {
    let mut broken = Broken::build(build);
    let place = variable(&mut broken, owner.0, owner.1, name);
    broken.set(owner.0, owner.1, &place, json!(value))
}

#[test]
fn a_part_without_tls_is_noticed() {
    let worker = ("Deployment", "worker-email");
    let ca = set("production", worker, "WORKFLEET_NATS_CA_FILE", "");
    ca.noticed_by(mistakes, "worker-email: TLS is On, and WORKFLEET_NATS_CA_FILE");
    let clear = "http://otel-collector:4317";
    let traces = set("production", worker, "OTEL_EXPORTER_OTLP_ENDPOINT", clear);
    traces.noticed_by(mistakes, "traces go to http://");
    let key = set("production", ("Deployment", "dispatcher"), "WORKFLEET_TLS_KEY_FILE", "");
    key.noticed_by(mistakes, "WORKFLEET_TLS_KEY_FILE");
    let args = json!(["--config=/etc/jaeger/jaeger.yaml", "--config=/etc/jaeger/storage.yaml"]);
    let jaeger = Broken::build("production").set("Deployment", "jaeger", &container("args"), args);
    jaeger.noticed_by(mistakes, "Deployment jaeger: TLS is On, and tls.yaml is read: false");
    let https = set("local", worker, "OTEL_EXPORTER_OTLP_ENDPOINT", "https://jaeger:4317");
    https.noticed_by(mistakes, "TLS is Off");
}

#[test]
fn routes_that_verify_nobody_are_noticed() {
    let routes = "verify_cert_and_check_known_urls: true";
    replaced("production", routes, "verify: true").noticed_by(mistakes, "routes do not");
    let include = "include \\\"routes-tls.conf\\\"";
    replaced("production", include, "").noticed_by(mistakes, "routes do not");
}

#[test]
fn an_autoscaler_that_cannot_ask_is_noticed() {
    let metadata = "/spec/triggers/0/metadata";
    let mode = format!("{metadata}/authMode");
    let bearer = Broken::build("production").set("ScaledObject", "worker-email", &mode, json!("bearer"));
    bearer.noticed_by(mistakes, "only with authMode");
    let token = json!([{ "parameter": "token", "name": "keda-token", "key": "token" }]);
    let alone = Broken::build("production").set("TriggerAuthentication", "", "/spec/secretTargetRef", token);
    alone.noticed_by(mistakes, "without \"cert\"");
    let url = json!("http://dispatcher.workfleet.svc:8080/v1/scale/email");
    let clear = Broken::build("production").set("ScaledObject", "worker-email", &format!("{metadata}/url"), url);
    clear.noticed_by(mistakes, "is no Service of this build");
}

#[test]
fn a_name_that_an_overlay_changes_under_an_address_is_noticed() {
    let namespace = replaced("local-keda", "\"namespace\":\"workfleet\"", "\"namespace\":\"other\"");
    namespace.noticed_by(mistakes, "is no Service of this build");
    let prefix = replaced("local-keda", "\"name\":\"dispatcher\"", "\"name\":\"my-dispatcher\"");
    prefix.noticed_by(mistakes, "is no Service of this build");
}
