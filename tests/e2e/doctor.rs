use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use workfleet_tests::{Cluster, Fleet, Nats, Probe, SERVERS, program};

/// A broker with a queue `mail`, and a person beside it.
struct Desk {
    url: String,
    queues: PathBuf,
}

struct Said {
    code: Option<i32>,
    text: String,
    document: Value,
}

impl Desk {
    async fn new(folder: &Path, url: String, replicas: usize) -> Self {
        let queues = folder.join("queues.toml");
        let size = 16 << 20;
        let sizes =
            ["tasks_bytes_max", "results_bytes_max", "dead_bytes_max"].map(|key| format!("{key} = {size}\n")).concat();
        let blobs = format!("payload_bytes_max = 1048576\nblobs_bytes_max = {size}\n");
        let text = format!("[queue.mail]\nreplicas = {replicas}\nlanes = [\"h\", \"m\"]\n{sizes}{blobs}");
        std::fs::write(&queues, text).expect("a temporary folder takes files");
        let desk = Self { url, queues };
        desk.provision().await;
        desk
    }

    async fn provision(&self) {
        let said = self.run(&["provision", "--queues", &self.queues.display().to_string()]).await;
        assert_eq!(said.code, Some(0), "{}", said.text);
    }

    async fn run(&self, arguments: &[&str]) -> Said {
        let mut command = tokio::process::Command::new(program("workfleet"));
        command.args(arguments).env("WORKFLEET_NATS_URL", &self.url).kill_on_drop(true);
        said(&command.output().await.expect("the program starts"))
    }

    async fn doctor(&self, arguments: &[&str]) -> Said {
        self.run(&[&["doctor", "--json"], arguments].concat()).await
    }
}

fn said(output: &std::process::Output) -> Said {
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
    Said { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned(), document }
}

impl Said {
    fn found(&self, what: &str) -> &Value {
        let findings = self.document["findings"].as_array().unwrap_or_else(|| panic!("{}", self.text));
        let found = findings.iter().find(|finding| finding["what"].as_str().is_some_and(|text| text.contains(what)));
        found.unwrap_or_else(|| panic!("{what} was not found: {}", self.text))
    }
}

#[tokio::test]
async fn one_server_is_graded_by_when_it_writes_to_its_disk_and_not_at_all_where_it_cannot_be_read() {
    let folder = TempDir::new().expect("a folder");
    let nats = Nats::start(folder.path()).await;
    let desk = Desk::new(folder.path(), nats.url(), 1).await;
    let monitor = nats.monitor_url();
    let graded = desk.doctor(&["--monitor", &monitor]).await;
    assert_eq!((graded.code, &graded.document["grade"]), (Some(0), &json!("D")), "{}", graded.text);
    assert_eq!(graded.document["servers"][0]["sync"], "2m");
    assert!(graded.found("the grade is D")["change"].as_str().is_some_and(|text| text.contains("replicas = 3")));
    let required = desk.doctor(&["--monitor", &monitor, "--require", "B"]).await;
    assert_eq!(required.code, Some(1), "{}", required.text);

    let unknown = desk.doctor(&[]).await;
    assert_eq!((unknown.code, &unknown.document["grade"]), (Some(0), &json!("unknown")), "{}", unknown.text);
    let words = desk.run(&["doctor"]).await;
    assert!(words.text.contains("sync interval not readable") && words.text.contains("--monitor"), "{}", words.text);
    assert_eq!(desk.doctor(&["--require", "D"]).await.code, Some(1), "what is not known is not good enough");
    assert_eq!(
        desk.doctor(&["--monitor", &format!("http://{}", nats.url().trim_start_matches("nats://"))]).await.code,
        Some(3)
    );

    let folder = TempDir::new().expect("a folder");
    let always = Nats::start_configured(folder.path(), "jetstream {\n  sync_interval: always\n}\n").await;
    let desk = Desk::new(folder.path(), always.url(), 1).await;
    let graded = desk.doctor(&["--monitor", &always.monitor_url()]).await;
    assert_eq!((graded.code, &graded.document["grade"]), (Some(0), &json!("C")), "{}", graded.text);

    let other = desk.doctor(&["--monitor", &monitor]).await;
    assert_eq!((other.code, &other.document["grade"]), (Some(1), &json!("unknown")), "{}", other.text);
    other.found("is of another broker");
}

#[tokio::test]
async fn three_servers_are_graded_by_the_laziest_disk_and_only_when_all_are_seen() {
    for (builder, grade) in [(Cluster::builder(), "B"), (Cluster::builder().sync_always(), "A")] {
        let folder = TempDir::new().expect("a folder");
        let cluster = builder.start(folder.path()).await;
        let desk = Desk::new(folder.path(), cluster.url(), SERVERS).await;
        let urls: Vec<String> = (0..SERVERS).map(|server| cluster.monitor_url(server)).collect();
        let mut monitors = vec!["--monitor"];
        monitors.extend(urls.iter().map(String::as_str));
        let graded = desk.doctor(&monitors).await;
        assert_eq!((graded.code, &graded.document["grade"]), (Some(0), &json!(grade)), "{}", graded.text);
        assert_eq!((&graded.document["cluster_size"], &graded.document["replicas"]), (&json!(3), &json!(3)));
        assert_eq!(
            desk.doctor(&[&monitors[..], &["--require", "A"]].concat()).await.code,
            Some(i32::from(grade != "A"))
        );

        let one = desk.doctor(&["--monitor", &urls[0]]).await;
        assert_eq!(one.document["grade"], "unknown", "{}", one.text);
        assert!(one.document["meaning"].as_str().is_some_and(|text| text.contains("2 of 3 servers")), "{}", one.text);
        let system = cluster.url_of(0).replace("nats://", "nats://system:system@");
        let asked = desk.doctor(&["--system-nats", &system]).await;
        assert_eq!(
            (&asked.document["grade"], asked.document["servers"].as_array().map(Vec::len)),
            (&json!(grade), Some(3))
        );
        let stranger = desk.doctor(&["--system-nats", &cluster.url_of(0)]).await;
        assert_eq!(stranger.code, Some(5), "{}", stranger.text);
    }
}

#[tokio::test]
async fn what_is_not_as_provisioned_is_named_with_what_to_do() {
    let folder = TempDir::new().expect("a folder");
    let nats = Nats::start(folder.path()).await;
    let desk = Desk::new(folder.path(), nats.url(), 1).await;
    let jetstream = nats.jetstream().await;
    for consumer in ["EXPIRED", "SRC"] {
        let delay = jetstream.get_stream("DELAY_mail").await.expect("a stream");
        delay.delete_consumer(consumer).await.expect("deleted");
    }
    let mut tasks = jetstream.get_stream("TASKS_mail").await.expect("a stream");
    let mut config = tasks.info().await.expect("told").config.clone();
    config.max_messages = 3;
    // The client does not know all that a source can say.
    config.sources = None;
    let _ = jetstream.update_stream(&config).await;
    jetstream.delete_stream("DEAD_mail").await.expect("deleted");
    let harmed = desk.doctor(&[]).await;
    assert_eq!(harmed.code, Some(1), "{}", harmed.text);
    for (what, severity) in [
        ("consumer DELAY_mail/EXPIRED is missing", "fault"),
        ("consumer DELAY_mail/SRC is missing", "fault"),
        ("stream TASKS_mail is not as provisioned: wanted max_msgs=1000000", "fault"),
        ("stream DEAD_mail is missing", "fault"),
    ] {
        let found = harmed.found(what);
        assert_eq!(found["severity"], severity);
        assert!(found["change"].as_str().is_some_and(|change| change.contains("workfleet provision")));
    }
    desk.provision().await;
    let mended = desk.doctor(&[]).await;
    assert_eq!(mended.code, Some(0), "{}", mended.text);
    assert!(mended.document["clock_skew_ms"].as_i64().is_some_and(|skew_ms| skew_ms.abs() < 5_000), "{}", mended.text);
    assert!(mended.document["assets"]["streams"].as_u64().is_some_and(|streams| streams >= 12), "{}", mended.text);
}

#[tokio::test]
async fn a_queue_near_its_bound_is_warned_of_and_a_key_that_may_not_look_is_told() {
    let fleet = Fleet::builder().with_keys().probe(|queue| queue.tasks_max(10)).workers("probe", 0).start().await;
    for _ in 0..8 {
        fleet.submit(&Probe::echo("waits")).await;
    }
    let run = async |role: &str, arguments: &[&str]| {
        let mut command = tokio::process::Command::new(program("workfleet"));
        command.args(arguments).env("WORKFLEET_NATS_URL", fleet.nats.url()).kill_on_drop(true);
        command.envs(fleet.nats.keys().expect("a fleet with keys").variables(role));
        said(&command.output().await.expect("the program starts"))
    };
    let sys = fleet.folder().join("keys/sys.nk").display().to_string();
    let looked = run("audit", &["doctor", "--json", "--system-nkey-file", &sys]).await;
    assert_eq!((looked.code, &looked.document["grade"]), (Some(0), &json!("D")), "{}", looked.text);
    assert_eq!(looked.found("queue probe: 8 of 10 are used (tasks_max, 80 %)")["severity"], "warning");
    assert_eq!(fleet.nats.violations(), Vec::<String>::new());

    let refused = run("backup", &["doctor", "--json"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.text);
    assert_eq!(refused.found("this client may not ask $JS.API.STREAM.MSG.GET.KV_QUEUES")["severity"], "fault");
}
