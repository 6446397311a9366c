//! On texts that have one thing wrong, or many.

use std::path::Path;

use super::Fleet;

fn dir() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn shipped() -> String {
    std::fs::read_to_string(dir().join("fleet.toml")).expect("it is there")
}

#[track_caller]
fn mistakes(from: &str, to: &str) -> String {
    let text = shipped();
    assert!(text.contains(from), "{from:?} is not in fleet.toml");
    Fleet::parse(&text.replacen(from, to, 1), dir()).expect_err("it has a mistake").join("\n")
}

#[test]
fn the_file_that_is_shipped_has_no_mistakes_and_defaults_reach_every_worker() {
    let fleet = Fleet::parse(&shipped(), dir()).expect("it has no mistakes");
    let names: Vec<&str> = fleet.workers.iter().map(|worker| worker.name.as_str()).collect();
    assert_eq!(names, ["email", "thumbnail", "webhook"]);
    let thumbnail = &fleet.workers[1];
    assert_eq!((thumbnail.slots, thumbnail.timeout_s, thumbnail.drain_s), (4, 60, 60), "of [defaults]");
    assert_eq!((fleet.workers[2].slots, fleet.workers[2].timeout_s), (16, 30), "its own");
    assert_eq!(
        fleet.roles(),
        ["provision", "dispatcher", "worker-email", "worker-thumbnail", "worker-webhook", "audit"]
    );
}

#[test]
fn a_worker_is_one_short_entry() {
    let text = shipped()
        + "\n[worker.probe]\nproto = \"../../tests/proto/probe.proto\"\n\
                            queue = { tasks_bytes_max = 67108864, results_bytes_max = 67108864, blobs_bytes_max = 67108864 }\n";
    let fleet = Fleet::parse(&text, dir()).expect("that is all it needs");
    assert!(fleet.workers.iter().any(|worker| worker.name == "probe" && worker.image == "workfleet/probe"));
}

#[test]
fn every_mistake_is_named_together() {
    let text = shipped()
        .replacen("slots = 16", "slots = 0\nslot = 3", 1)
        .replacen("namespace = \"workfleet\"", "namespace = \"Work\"\nnames = 1", 1)
        .replacen("lease = \"8s\"", "leases = \"8s\"", 1)
        .replacen("servers = 3", "servers = 2", 1)
        .replacen("memory = \"1Gi\" }", "memory = \"1GB\" }", 1);
    let mistakes = Fleet::parse(&text, dir()).expect_err("it has mistakes").join("\n");
    for word in [
        "fleet.toml.namespace: \"Work\" is no name",
        "fleet.toml.names: unknown",
        "defaults.leases: unknown",
        "worker.thumbnail.lease: missing",
        "worker.webhook.slots: 0 is not from 1 to 4096",
        "worker.webhook.slot: unknown",
        "production.nats.servers: not 1, 3 or 5",
        "base.nats.memory: not an amount of bytes",
    ] {
        assert!(mistakes.contains(word), "{word:?} is not in:\n{mistakes}");
    }
}

#[test]
fn numbers_that_cannot_be_together_are_mistakes() {
    for (from, to, word) in [
        ("slots = 16", "slots = 16\ndrain = \"31s\"", "worker.webhook.drain: longer than the timeout"),
        (
            "slots = 16",
            "slots = 16\nfallback_replicas = 11",
            "worker.webhook.fallback_replicas: more than replicas.max",
        ),
        ("min = 1, max = 20", "min = 21, max = 20", "worker.thumbnail.replicas: min is more than max"),
        ("timeout = \"30s\"", "timeout = \"1500ms\"", "worker.webhook.timeout: not whole seconds"),
        ("memory_limit = \"2Gi\"", "memory_limit = \"1Mi\"", "worker.thumbnail.memory_limit: less than memory"),
        (
            "children = [\"webhook\"]",
            "children = [\"webhooks\"]",
            "worker.thumbnail.children: there is no worker webhooks",
        ),
        ("hosts = []", "hosts = [\"10.0.0.1\"]", "production.dispatcher.hosts: \"10.0.0.1\" is no name of a host"),
        ("hosts = []", "hosts = [\"*.example.com\"]", "production.dispatcher.hosts: \"*.example.com\" is no name"),
        ("egress = [\"smtp\"]", "egress = [\"pop\"]", "worker.email.egress: pop is not one of"),
    ] {
        let found = mistakes(from, to);
        assert!(found.contains(word), "{word:?} is not in:\n{found}");
    }
}

#[test]
fn queues_are_checked_as_the_dispatcher_will_read_them() {
    for (from, to, word) in [
        ("slots = 16", "slots = 16\nqueue.attempts = 3", "queue.webhook.attempts: unknown"),
        ("slots = 16", "slots = 16\nqueue.timeout = \"1s\"", "worker.webhook.queue: timeout follows from"),
        ("slots = 16", "slots = 16\nqueue.attempts_max = 0", "attempts_max is 0"),
        ("lease = \"8s\"", "lease = \"11m\"", "lease_ms is 660000"),
        ("kinds/webhook.proto", "kinds/thumbnail.proto", "describes the kind thumbnail"),
        ("kinds/webhook.proto", "kinds/none.proto", "worker.webhook.proto: there is no file"),
    ] {
        let found = mistakes(from, to);
        assert!(found.contains(word), "{word:?} is not in:\n{found}");
    }
}

#[test]
fn both_sites_that_are_shipped_have_room_for_two_more_workers_of_default_sizes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let probe = std::fs::read_to_string(dir().join("../../tests/proto/probe.proto")).expect("it is there");
    let mut text = shipped();
    for (name, service) in [("first", "service First"), ("second", "service Second")] {
        let path = folder.path().join(format!("{name}.proto"));
        std::fs::write(&path, probe.replace("service Probe", service)).expect("a file");
        text += &format!("\n[worker.{name}]\nproto = {path:?}\n");
    }
    let fleet = Fleet::parse(&text, dir()).expect("there is room");
    assert_eq!(fleet.workers.len(), 5);
}

#[test]
fn a_file_that_is_not_there_is_told_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = Fleet::read(folder.path()).expect_err("there is none").to_string();
    assert!(
        error.ends_with("fleet.toml: there is no such file: run this in the checkout, or name the folder with --dir")
    );
}

#[test]
fn streams_have_to_fit_the_volume_and_the_memory() {
    let small = mistakes("volume = \"20Gi\"", "volume = \"5Gi\"");
    assert!(
        small.contains("base.nats.volume: the streams take up to 6656 MiB, and 90 % of 5Gi is 4608 MiB"),
        "{small}"
    );
    assert!(small.contains("make it 8Gi or more") && small.contains("under [base.queue]"), "{small}");
    assert_eq!(Fleet::parse(&shipped().replacen("\"20Gi\"", "\"8Gi\"", 1), dir()).map(|_| ()), Ok(()), "as it says");
    let memory = mistakes("cpu = \"250m\", memory = \"1Gi\"", "cpu = \"250m\", memory = \"256Mi\"");
    assert!(memory.contains("base.nats.memory: events of 3 queues reserve 256 MiB"), "{memory}");
}

#[test]
fn a_ledger_and_an_alert_of_dead_letters_reach_the_queues_file_and_the_volume() {
    let more = "queue.ledger = true\nqueue.accepted_bytes_max = 1_073_741_824\n\
                queue.dead_alert = { queue = \"webhook\", url = \"https://ops.example/hook\", per_minute = 5 }\n";
    let text = shipped().replacen("[worker.email]\n", &format!("[worker.email]\n{more}"), 1);
    let fleet = Fleet::parse(&text, dir()).expect("the dispatcher reads it");
    let queues = crate::queues::text(&fleet, &fleet.base);
    let line = "dead_alert = { per_minute = 5, queue = \"webhook\", url = \"https://ops.example/hook\" }";
    assert!(queues.contains(line), "{queues}");
    let small = Fleet::parse(&text.replacen("\"20Gi\"", "\"5Gi\"", 1), dir()).expect_err("it has no room").join("\n");
    assert!(small.contains("take up to 7680 MiB"), "a GiB more than without: {small}");
}

#[test]
fn no_secret_and_nothing_derived_may_be_a_variable() {
    for name in ["WORKFLEET_SLOTS", "WORKFLEET_NATS_URL", "WORKFLEET_SMTP_PASSWORD", "API_TOKEN", "lower"] {
        let found = mistakes("slots = 16", &format!("slots = 16\nenv.{name} = \"x\""));
        assert!(found.contains(&format!("worker.webhook.env: {name} is")), "{name}: {found}");
    }
}
