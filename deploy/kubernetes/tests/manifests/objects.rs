//! Objects of Kubernetes, as JSON: what the rules ask them.

use std::collections::BTreeMap;

use serde_json::Value;

/// Nothing, to be pointed at.
static NULL: Value = Value::Null;

/// All objects of a build.
pub(crate) struct Objects(pub(crate) Vec<Value>);

/// A pod as somebody makes it.
pub(crate) struct Pod<'a> {
    /// `Deployment worker-thumbnail`.
    pub(crate) owner: String,
    pub(crate) object: &'a Value,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) spec: &'a Value,
}

impl Objects {
    pub(crate) fn parse(text: &str) -> Self {
        let objects: Vec<Value> = serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        Self(objects)
    }

    pub(crate) fn of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    pub(crate) fn find(&self, kind: &str, name: &str) -> Option<&Value> {
        self.0.iter().find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    }

    /// One whose name begins so, with or without kustomize's hash behind it.
    pub(crate) fn find_hashed(&self, kind: &str, name: &str) -> Option<&Value> {
        let is = |object: &&Value| {
            let found = text(&object["metadata"]["name"]);
            let rest = found.strip_prefix(name);
            rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('-').is_some_and(|hash| hash.len() == 10))
        };
        self.0.iter().filter(|object| object["kind"] == kind).find(is)
    }

    pub(crate) fn pods(&self) -> Vec<Pod<'_>> {
        let makers = ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"];
        let made = self.0.iter().filter(|object| makers.contains(&text(&object["kind"])));
        made.map(|object| {
            // What a CronJob makes are Jobs, and those make pods.
            let job = &object["spec"]["jobTemplate"];
            let template = if job.is_null() { &object["spec"]["template"] } else { &job["spec"]["template"] };
            Pod {
                owner: label(object),
                object,
                labels: labels(&template["metadata"]["labels"]),
                spec: &template["spec"],
            }
        })
        .collect()
    }

    /// Keys of a Secret or a ConfigMap; `None` if there is none of that name. What cert-manager is asked for will be there.
    pub(crate) fn keys(&self, kind: &str, name: &str) -> Option<Vec<String>> {
        if let Some(object) = self.find(kind, name) {
            let parts = ["data", "stringData", "binaryData"].map(|part| &object[part]);
            let keys = parts.iter().filter_map(|part| part.as_object()).flat_map(|part| part.keys().cloned());
            return Some(keys.collect());
        }
        let promised = |certificate: &&Value| kind == "Secret" && certificate["spec"]["secretName"] == name;
        self.of("Certificate").find(promised).map(|_| ["tls.crt", "tls.key", "ca.crt"].map(str::to_owned).into())
    }
}

impl Pod<'_> {
    /// Whether it runs until it is done.
    pub(crate) fn ends(&self) -> bool {
        ["Job", "CronJob"].contains(&text(&self.object["kind"]))
    }

    pub(crate) fn containers(&self) -> impl Iterator<Item = &Value> {
        list(&self.spec["initContainers"]).iter().chain(list(&self.spec["containers"]))
    }
}

/// `Deployment dispatcher`.
pub(crate) fn label(object: &Value) -> String {
    format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]))
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn labels(value: &Value) -> BTreeMap<String, String> {
    let entries = value.as_object().into_iter().flatten();
    entries.map(|(key, value)| (key.clone(), text(value).to_owned())).collect()
}

/// The value of a variable of a container; null if it has none.
pub(crate) fn env<'a>(container: &'a Value, name: &str) -> &'a Value {
    list(&container["env"]).iter().find(|entry| entry["name"] == name).map_or(&NULL, |entry| &entry["value"])
}
