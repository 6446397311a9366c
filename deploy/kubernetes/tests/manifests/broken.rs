//! Each rule on a fleet with one thing broken in it: a rule that notices nothing is none.

mod tls;

use serde_json::{Value, json};

use crate::builds::{builds, fleet};
use crate::objects::{Objects, text};
use crate::{rules, schema};

/// The objects of a build with one of them changed.
struct Broken {
    objects: Vec<Value>,
}

impl Broken {
    fn build(name: &str) -> Self {
        let build = builds().iter().find(|build| build.name == name).expect("there is such a build");
        Self { objects: build.objects.0.clone() }
    }

    fn object(&mut self, kind: &str, name: &str) -> &mut Value {
        let is = |object: &&mut Value| object["kind"] == kind && text(&object["metadata"]["name"]).starts_with(name);
        self.objects.iter_mut().find(is).unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// Sets what is at a pointer, which has to be there already, so that a test cannot break nothing.
    #[track_caller]
    fn set(mut self, kind: &str, name: &str, pointer: &str, value: Value) -> Self {
        let object = self.object(kind, name);
        let at = object.pointer_mut(pointer).unwrap_or_else(|| panic!("{kind} {name} has no {pointer}"));
        assert_ne!(*at, value, "{kind} {name}{pointer} is so already");
        *at = value;
        self
    }

    /// Adds a member.
    fn add(mut self, kind: &str, name: &str, pointer: &str, key: &str, value: Value) -> Self {
        let at = self.object(kind, name).pointer_mut(pointer).expect("there is such a place");
        at[key] = value;
        self
    }

    fn without(mut self, kind: &str, name: &str) -> Self {
        let before = self.objects.len();
        self.objects.retain(|object| object["kind"] != kind || !text(&object["metadata"]["name"]).starts_with(name));
        assert!(self.objects.len() < before, "there is no {kind} {name}");
        self
    }

    /// Demands one mistake or more, and `word` in them.
    #[track_caller]
    fn noticed_by(self, rule: impl Fn(&Objects) -> Vec<String>, word: &str) {
        let mistakes = rule(&Objects(self.objects)).join("\n");
        assert!(mistakes.contains(word), "{word:?} is not in: {mistakes}");
    }
}

const POD: &str = "/spec/template/spec";
const CONTAINER: &str = "/spec/template/spec/containers/0";

fn pod(path: &str) -> String {
    format!("{POD}/{path}")
}

fn container(path: &str) -> String {
    format!("{CONTAINER}/{path}")
}

#[test]
fn a_pod_that_is_not_restricted_is_noticed() {
    let cases = [
        (pod("securityContext/runAsNonRoot"), json!(false), "runAsNonRoot"),
        (pod("securityContext/runAsUser"), json!(0), "runAsUser"),
        (pod("securityContext/seccompProfile/type"), json!("Unconfined"), "seccompProfile"),
        (pod("automountServiceAccountToken"), json!(true), "token of the cluster"),
        (pod("enableServiceLinks"), json!(true), "every Service"),
        (pod("serviceAccountName"), json!("default"), "ServiceAccount of its own"),
        (pod("volumes/0"), json!({ "name": "tmp", "hostPath": { "path": "/" } }), "hostPath"),
        (container("securityContext/allowPrivilegeEscalation"), json!(true), "allowPrivilegeEscalation"),
        (container("securityContext/readOnlyRootFilesystem"), json!(false), "read-only"),
        (container("securityContext/capabilities/drop"), json!(["NET_RAW"]), "ALL capabilities"),
        (container("image"), json!("workfleet/thumbnail"), "fixed tag"),
        (container("ports/0"), json!({ "containerPort": 9090, "hostPort": 80 }), "port of its node"),
    ];
    for (pointer, value, word) in cases {
        let broken = Broken::build("local").set("Deployment", "worker-thumbnail", &pointer, value);
        broken.noticed_by(rules::restricted::mistakes, word);
    }
    let broken = Broken::build("local").add("Deployment", "dispatcher", POD, "hostNetwork", json!(true));
    broken.noticed_by(rules::restricted::mistakes, "hostNetwork");
    let account = Broken::build("local").set("ServiceAccount", "nats", "/automountServiceAccountToken", json!(true));
    account.noticed_by(rules::restricted::mistakes, "mounts its token");
    let label = "/metadata/labels/pod-security.kubernetes.io~1enforce";
    let lax = Broken::build("local").set("Namespace", "workfleet", label, json!("baseline"));
    lax.noticed_by(rules::restricted::namespace, "enforces nothing");
}

#[test]
fn a_pod_that_says_nothing_of_its_needs_is_noticed() {
    let broken = || Broken::build("local");
    let silent = broken().set("StatefulSet", "nats", &container("resources/limits"), json!({}));
    silent.noticed_by(rules::restricted::resources_and_probes, "limits/memory");
    let unprobed = broken().set("Deployment", "worker-webhook", &container("livenessProbe"), Value::Null);
    unprobed.noticed_by(rules::restricted::resources_and_probes, "no livenessProbe");
    let impatient = broken().set("Deployment", "worker-webhook", &pod("terminationGracePeriodSeconds"), Value::Null);
    impatient.noticed_by(rules::restricted::resources_and_probes, "no grace period");
}

#[test]
fn numbers_that_disagree_are_noticed() {
    let rule = |objects: &Objects| rules::numbers::mistakes(objects, &fleet());
    let worker =
        |pointer: &str, value: Value| Broken::build("production").set("Deployment", "worker-thumbnail", pointer, value);
    worker(&pod("terminationGracePeriodSeconds"), json!(30)).noticed_by(rule, "grace period is 30");
    worker("/spec/progressDeadlineSeconds", json!(60)).noticed_by(rule, "deadline of the rollout");
    for name in ["WORKFLEET_SLOTS", "WORKFLEET_DRAIN_TIMEOUT"] {
        let mut broken = Broken::build("production");
        let env = broken.object("Deployment", "worker-thumbnail").pointer_mut(&container("env")).expect("it has some");
        let entry = env.as_array_mut().and_then(|env| env.iter_mut().find(|entry| entry["name"] == name));
        entry.expect("it is set")["value"] = json!("7s");
        broken.noticed_by(rule, name);
    }
    let scaled = |pointer: &str, value: Value| {
        Broken::build("production").set("ScaledObject", "worker-thumbnail", pointer, value)
    };
    scaled("/spec/triggers/0/metadata/targetValue", json!("1")).noticed_by(rule, "the trigger's target is 1");
    scaled("/spec/maxReplicaCount", json!(7)).noticed_by(rule, "maxReplicaCount is 7");
    let lag = Broken::build("local-keda-nats");
    let lag = lag.set("ScaledObject", "worker-thumbnail", "/spec/triggers/0/metadata/lagThreshold", json!("1"));
    lag.noticed_by(rule, "the trigger's target is 1");
    for (key, other) in [("lease", "lease = \"9s\""), ("timeout", "timeout = \"1s\"")] {
        let mut broken = Broken::build("local");
        let queues = broken.object("ConfigMap", "queues").pointer_mut("/data/queues.toml").expect("it is there");
        let lines = text(queues).lines().map(|line| if line.starts_with(key) { other } else { line });
        *queues = json!(lines.collect::<Vec<_>>().join("\n"));
        broken.noticed_by(rule, &format!("the queue's {key}"));
    }
}

#[test]
fn a_pod_without_the_time_to_leave_is_noticed() {
    let broken = || Broken::build("production");
    let grace = pod("terminationGracePeriodSeconds");
    broken().set("StatefulSet", "nats", &grace, json!(40)).noticed_by(rules::numbers::leaving, "40 s are not more");
    broken()
        .set("Deployment", "dispatcher", &grace, json!(15))
        .noticed_by(rules::numbers::leaving, "15 s are not more");
    let deaf = broken().set("StatefulSet", "nats", &container("lifecycle/preStop"), Value::Null);
    deaf.noticed_by(rules::numbers::leaving, "lame duck");
}

#[test]
fn a_broker_that_does_not_fit_is_noticed() {
    let servers = Broken::build("production").set("StatefulSet", "nats", "/spec/replicas", json!(1));
    servers.noticed_by(rules::numbers::broker, "1 servers, and Some(3) copies");
    let storage = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
    let small = Broken::build("local").set("StatefulSet", "nats", storage, json!("5Gi"));
    small.noticed_by(rules::numbers::broker, "streams may take");
    let args = "/spec/jobTemplate/spec/template/spec/containers/0/args";
    let hasty = Broken::build("production").set("CronJob", "doctor", args, json!(["doctor"]));
    hasty.noticed_by(rules::numbers::broker, "asks 0 servers, and there are 3");
}

#[test]
fn replicas_with_two_owners_are_noticed() {
    let replicas = Broken::build("local-keda").add("Deployment", "worker-webhook", "/spec", "replicas", json!(2));
    replicas.noticed_by(rules::scaling::mistakes, "has replicas");
    let lost = Broken::build("local-hpa").without("Deployment", "worker-webhook");
    lost.noticed_by(rules::scaling::mistakes, "to scale");
    let mut both = Broken::build("local-keda");
    let hpa = Broken::build("local-hpa").object("HorizontalPodAutoscaler", "worker-webhook").clone();
    both.objects.push(hpa);
    both.noticed_by(rules::scaling::mistakes, "scaled by HorizontalPodAutoscaler worker-webhook and ScaledObject");
}

#[test]
fn a_field_that_keda_does_not_know_is_noticed() {
    let cases = [("/spec", "coolDownPeriod"), ("/spec/triggers/0", "metrics")];
    for (pointer, key) in cases {
        let broken = Broken::build("local-keda").add("ScaledObject", "worker-email", pointer, key, json!(1));
        broken.noticed_by(rules::scaling::unknown_fields, key);
    }
}

#[test]
fn a_name_that_leads_nowhere_is_noticed() {
    let production = |kind: &str, name: &str, word: &str| {
        Broken::build("production").without(kind, name).noticed_by(rules::references::mistakes, word);
    };
    production("Secret", "nats-key-worker-email", "no Secret \"nats-key-worker-email-");
    production("Secret", "nats-key-audit", "no Secret \"nats-key-audit-");
    production("Secret", "tls-jaeger", "no Secret \"tls-jaeger");
    production("Secret", "nats-auth", "no Secret \"nats-auth");
    production("Secret", "webhook-secrets", "no Secret \"webhook-secrets\"");
    production("ConfigMap", "workfleet-ca", "no ConfigMap \"workfleet-ca");
    production("ConfigMap", "queues", "no ConfigMap \"queues-");
    production("ServiceAccount", "worker-email", "no ServiceAccount \"worker-email\"");
    production("Service", "nats-headless", "no Service \"nats-headless\"");
    production("PersistentVolumeClaim", "", "no PersistentVolumeClaim");
    production("TriggerAuthentication", "", "no TriggerAuthentication");
    let key = Broken::build("production").set("Secret", "keda-token", "/data", json!({ "other": "" }));
    key.noticed_by(rules::references::mistakes, "keda-token has no key \"token\"");
    let mount =
        Broken::build("local").set("Deployment", "dispatcher", &container("volumeMounts/0/name"), json!("lost"));
    mount.noticed_by(rules::references::mistakes, "no volume \"lost\"");
}

#[test]
fn a_file_that_is_not_mounted_is_noticed() {
    let seed = Broken::build("local").set("Secret", "nats-key-dispatcher", "/data", json!({ "other.nk": "" }));
    seed.noticed_by(rules::files::mistakes, "/etc/workfleet/nats/seed.nk is no file");
    let args = json!(["provision", "--queues", "/etc/workfleet/queue/queues.toml"]);
    let queues = Broken::build("local").set("Job", "provision", &container("args"), args);
    queues.noticed_by(rules::files::mistakes, "mounted from nowhere");
    let conf =
        Broken::build("local").set("StatefulSet", "nats", &container("args/1"), json!("--config=/etc/nats/other.conf"));
    conf.noticed_by(rules::files::mistakes, "/etc/nats/other.conf is no file");
}

#[test]
fn a_secret_in_a_variable_is_noticed() {
    let secret = json!({ "secretKeyRef": { "name": "smtp", "key": "password" } });
    let cases = [
        json!({ "name": "ANY", "valueFrom": secret }),
        json!({ "name": "WORKFLEET_SMTP_PASSWORD", "value": "x" }),
        json!({ "name": "ANY", "value": "wf_aaaaaaaaaaaaaaaa" }),
        json!({ "name": "WORKFLEET_NATS_URL", "value": "nats://user:password@nats:4222" }),
    ];
    for entry in cases {
        let broken = Broken::build("local").set("Deployment", "worker-webhook", &container("env/0"), entry.clone());
        broken.noticed_by(rules::files::secrets_in_env, "is a secret");
    }
    let all = json!([{ "secretRef": { "name": "smtp" } }]);
    let broken = Broken::build("local").add("Deployment", "worker-webhook", CONTAINER, "envFrom", all);
    broken.noticed_by(rules::files::secrets_in_env, "all variables of a Secret");
}

#[test]
fn what_selects_nothing_is_noticed() {
    let rule = rules::selectors::mistakes;
    let other = || json!("other");
    let production = || Broken::build("production");
    let component = "app.kubernetes.io~1component";
    let service = production().set("Service", "dispatcher", &format!("/spec/selector/{component}"), other());
    service.noticed_by(rule, "selects no pod");
    let budget = format!("/spec/selector/matchLabels/{component}");
    production().set("PodDisruptionBudget", "nats", &budget, other()).noticed_by(rule, "protects the pods of 0");
    let all = json!({ "app.kubernetes.io/name": "workfleet" });
    let greedy = production().set("PodDisruptionBudget", "nats", "/spec/selector/matchLabels", all.clone());
    greedy.noticed_by(rule, "not of one");
    production().set("Deployment", "dispatcher", "/spec/selector/matchLabels", all).noticed_by(rule, "selects pods of");
    let own = format!("/spec/selector/matchLabels/{component}");
    production().set("Deployment", "dispatcher", &own, other()).noticed_by(rule, "its own pods");
    let spread = format!("{}/{component}", pod("topologySpreadConstraints/0/labelSelector/matchLabels"));
    production().set("StatefulSet", "nats", &spread, other()).noticed_by(rule, "spreads others' pods");
    let minimum = production().set("PodDisruptionBudget", "worker-email", "/spec", json!({ "minAvailable": 1 }));
    minimum.noticed_by(rule, "no maxUnavailable");
}

#[test]
fn a_port_that_is_none_is_noticed() {
    let rule = rules::selectors::ports;
    let probe =
        Broken::build("local").set("Deployment", "dispatcher", &container("readinessProbe/httpGet/port"), json!("web"));
    probe.noticed_by(rule, "readinessProbe asks at \"web\"");
    let service = Broken::build("local").set("Service", "nats-headless", "/spec/ports/0/targetPort", json!("client"));
    service.noticed_by(rule, "has no port \"client\"");
    let annotation = "/spec/template/metadata/annotations/prometheus.io~1port";
    let scraped = Broken::build("local").set("Deployment", "dispatcher", annotation, json!("9091"));
    scraped.noticed_by(rule, "scraped at \"9091\"");
}

#[test]
fn a_misspelt_field_is_noticed() {
    let build = builds().iter().find(|build| build.name == "local").expect("there is such a build");
    let text = build.text.replacen("minReadySeconds:", "minReadySecond:", 1);
    assert_ne!(text, build.text, "it is there to be misspelt");
    let mistakes = schema::mistakes([text.as_str()]).join("\n");
    assert!(mistakes.contains("minReadySecond"), "{mistakes}");
}
