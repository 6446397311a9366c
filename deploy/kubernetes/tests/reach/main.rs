//! Who may reach whom with the component `network-policy`, decided as a network plugin does.
//!
//! Not tried in a cluster: a plugin that does not enforce policies accepts any. What they say is well defined though: what one
//! end may send and the other may receive, over all policies that select it, goes through. So that is computed here from the
//! rendered files, for every connection that the fleet needs and for those that it must not have.

mod policies;

use policies::{End, Policies};

const NAMESPACE: &str = "workfleet";

fn pod(component: &str) -> End {
    End::pod(NAMESPACE, &[("app.kubernetes.io/name", "workfleet"), ("app.kubernetes.io/component", component)])
}

fn worker(queue: &str) -> End {
    let End::Pod { namespace, mut labels, namespace_labels } = pod("worker") else { unreachable!("a pod is a pod") };
    labels.insert("workfleet.dev/queue".to_owned(), queue.to_owned());
    End::Pod { namespace, labels, namespace_labels }
}

/// A pod of another namespace, with a label on that namespace.
fn guest(label: &str) -> End {
    End::pod("elsewhere", &[("app", "guest")]).with_namespace_label(label, "allowed")
}

fn keda() -> End {
    End::pod("keda", &[("app", "keda-operator")])
}

fn dns() -> End {
    End::pod("kube-system", &[("k8s-app", "kube-dns")])
}

fn address(text: &str) -> End {
    End::Address(text.parse().expect("an address"))
}

fn fleet() -> Vec<(String, End)> {
    let roles = ["dispatcher", "provision", "audit", "nats", "jaeger", "otel-collector"];
    let queues = ["thumbnail", "webhook", "email"];
    let roles = roles.into_iter().map(|role| (role.to_owned(), pod(role)));
    roles.chain(queues.into_iter().map(|queue| (format!("worker-{queue}"), worker(queue)))).collect()
}

#[test]
fn everybody_reaches_what_they_need() {
    let policies = Policies::read();
    let allowed = |from: &End, to: &End, port: &str, what: &str| {
        assert!(policies.allow(from, to, port), "{what} is shut off: port {port}, from {from:?} to {to:?}");
    };
    for (name, end) in fleet() {
        allowed(&end, &dns(), "UDP/53", &format!("{name} -> names"));
        allowed(&end, &dns(), "TCP/53", &format!("{name} -> names"));
        if name == "dispatcher" || name == "provision" || name.starts_with("worker") {
            allowed(&end, &pod("nats"), "TCP/4222", &format!("{name} -> NATS"));
            allowed(&end, &pod("otel-collector"), "TCP/4317", &format!("{name} -> the collector"));
            allowed(&end, &pod("jaeger"), "TCP/4317", &format!("{name} -> Jaeger"));
        }
        if name == "dispatcher" || name.starts_with("worker") {
            allowed(&guest("workfleet.dev/metrics"), &end, "TCP/9090", &format!("Prometheus -> {name}"));
        }
    }
    allowed(&pod("audit"), &pod("nats"), "TCP/4222", "an audit -> NATS");
    allowed(&pod("audit"), &pod("nats"), "TCP/8222", "the doctor -> NATS's monitoring port");
    allowed(&pod("nats"), &pod("nats"), "TCP/6222", "a route");
    allowed(&pod("otel-collector"), &pod("jaeger"), "TCP/4317", "the collector -> Jaeger");
    allowed(&keda(), &pod("dispatcher"), "TCP/8080", "KEDA -> the dispatcher");
    allowed(&guest("workfleet.dev/api"), &pod("dispatcher"), "TCP/8080", "the product -> REST");
    allowed(&guest("workfleet.dev/api"), &pod("dispatcher"), "TCP/8081", "the product -> gRPC");
    allowed(&guest("workfleet.dev/traces"), &pod("jaeger"), "TCP/16686", "people -> traces");
    allowed(&guest("workfleet.dev/metrics"), &pod("nats"), "TCP/8222", "Prometheus -> NATS");
    allowed(&guest("workfleet.dev/metrics"), &pod("otel-collector"), "TCP/8888", "Prometheus -> the collector");
    allowed(&worker("webhook"), &address("93.184.215.14"), "TCP/443", "webhooks");
    allowed(&worker("webhook"), &address("2606:2800:21f::1"), "TCP/443", "webhooks over IPv6");
    allowed(&worker("email"), &address("93.184.215.14"), "TCP/587", "mails");
    allowed(&worker("email"), &address("10.20.30.40"), "TCP/25", "a mail server of one's own");
}

#[test]
fn nobody_reaches_anything_else() {
    let policies = Policies::read();
    let refused = |from: &End, to: &End, port: &str, what: &str| {
        assert!(!policies.allow(from, to, port), "{what} is let through: port {port}, from {from:?} to {to:?}");
    };
    let stranger = End::pod("elsewhere", &[("app", "stranger")]);
    let lodger = End::pod(NAMESPACE, &[("app", "lodger")]);
    for (name, end) in fleet() {
        for port in ["TCP/4222", "TCP/4317", "TCP/6222", "TCP/8080", "TCP/8081", "TCP/8222", "TCP/9090", "TCP/16686"] {
            refused(&stranger, &end, port, &format!("a stranger -> {name}"));
            refused(&lodger, &end, port, &format!("a pod of the namespace that is none of the fleet -> {name}"));
        }
        if name != "nats" {
            refused(&end, &pod("nats"), "TCP/6222", &format!("{name} as a route"));
        }
        if name != "nats" && name != "audit" {
            refused(&end, &pod("nats"), "TCP/8222", &format!("{name} -> NATS's monitoring port"));
        }
        refused(&end, &pod("dispatcher"), "TCP/8080", &format!("{name} -> the dispatcher"));
        refused(&end, &address("93.184.215.14"), "TCP/22", &format!("{name} -> the internet"));
        refused(&end, &address("169.254.169.254"), "TCP/80", &format!("{name} -> the cloud's metadata"));
        if name != "worker-webhook" {
            refused(&end, &address("93.184.215.14"), "TCP/443", &format!("{name} -> the internet"));
        }
    }
    for private in ["10.96.0.1", "172.20.0.5", "192.168.1.1", "127.0.0.1", "100.64.3.4", "fd00::1", "fe80::1"] {
        for port in ["TCP/80", "TCP/443"] {
            refused(&worker("webhook"), &address(private), port, "a webhook to a private network");
        }
    }
    refused(&worker("webhook"), &worker("email"), "TCP/443", "a webhook to a pod");
    refused(&worker("email"), &address("93.184.215.14"), "TCP/443", "a mail by HTTPS");
    refused(&keda(), &pod("nats"), "TCP/8222", "KEDA -> NATS, without the label");
    refused(&keda(), &pod("dispatcher"), "TCP/8081", "KEDA -> gRPC");
    refused(&End::pod("keda", &[("app", "other")]), &pod("dispatcher"), "TCP/8080", "others in KEDA's namespace");
    refused(&guest("workfleet.dev/traces"), &pod("dispatcher"), "TCP/8080", "who may read traces -> the dispatcher");
    refused(&guest("workfleet.dev/api"), &pod("jaeger"), "TCP/16686", "who may submit -> traces");
}
