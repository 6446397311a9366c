use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use workfleet_proto::names::{Lane, Names};
use workfleet_tests::{Cluster, Fleet, Nats, Probe, SERVERS, eventually, eventually_within, program};

/// Of which the streams of one small queue, and those that all share, reserve more than 80 and less than 95 percent.
const STORE_BYTES: u64 = 1_400_000_000;
/// Servers wait before they call one of them lost.
const OFFLINE_WITHIN: Duration = Duration::from_secs(90);

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
async fn the_grade_goes_by_what_streams_have_and_not_by_what_they_are_to_have() {
    let folder = TempDir::new().expect("a folder");
    let cluster = Cluster::builder().sync_always().start(folder.path()).await;
    let desk = Desk::new(folder.path(), cluster.url(), SERVERS).await;
    let system = cluster.url_of(0).replace("nats://", "nats://system:system@");
    let graded = desk.doctor(&["--system-nats", &system]).await;
    assert_eq!((&graded.document["grade"], &graded.document["replicas"]), (&json!("A"), &json!(3)), "{}", graded.text);

    let jetstream = cluster.jetstream().await;
    let info: Value = jetstream.request("STREAM.INFO.RESULTS_mail", &()).await.expect("an answer");
    let mut config = info["config"].clone();
    config["num_replicas"] = json!(1);
    let changed: Value = jetstream.request("STREAM.UPDATE.RESULTS_mail", &config).await.expect("an answer");
    assert_eq!(changed["config"]["num_replicas"], 1, "{changed}");
    let scaled = eventually("the stream is on one server", async || {
        let scaled = desk.doctor(&["--system-nats", &system]).await;
        (scaled.document["replicas"] == 1).then_some(scaled)
    })
    .await;
    assert_eq!((scaled.code, &scaled.document["grade"]), (Some(1), &json!("C")), "{}", scaled.text);
    assert_eq!(scaled.document["queues"][0]["replicas"], 3, "what it is to have");
    scaled.found("stream RESULTS_mail is not as provisioned: wanted num_replicas=3");
}

#[tokio::test]
async fn a_replica_whose_server_is_gone_is_a_fault() {
    let folder = TempDir::new().expect("a folder");
    let mut cluster = Cluster::start(folder.path()).await;
    let desk = Desk::new(folder.path(), cluster.url(), SERVERS).await;
    cluster.kill(SERVERS - 1);
    let seen = eventually_within(OFFLINE_WITHIN, "a replica is told to be offline", async || {
        let seen = desk.doctor(&[]).await;
        seen.text.contains("is offline").then_some(seen)
    });
    let seen = seen.await;
    assert_eq!((seen.code, &seen.found("is offline")["severity"]), (Some(1), &json!("fault")), "{}", seen.text);
}

#[tokio::test]
async fn a_broker_that_takes_too_little_and_is_nearly_full_is_told_of() {
    let folder = TempDir::new().expect("a folder");
    let account = "FLEET { jetstream { max_streams: 14 }, users: [ { user: fleet, password: fleet } ] }";
    let text = format!(
        "max_payload: 65536\njetstream {{ max_file_store: {STORE_BYTES} }}\naccounts {{ {account} }}\nno_auth_user: fleet\n"
    );
    let nats = Nats::start_configured(folder.path(), &text).await;
    let desk = Desk::new(folder.path(), nats.url(), 1).await;
    let looked = desk.doctor(&["--monitor", &nats.monitor_url()]).await;
    assert_eq!(looked.code, Some(1), "{}", looked.text);
    for (what, severity) in [
        ("takes messages of 65536 bytes at most", "fault"),
        ("has promised", "warning"),
        ("the account has 12 of its 14 streams", "warning"),
    ] {
        assert_eq!(looked.found(what)["severity"], severity, "{what}");
    }
}

#[tokio::test]
async fn what_is_not_as_provisioned_is_named_with_what_to_do() {
    let folder = TempDir::new().expect("a folder");
    let nats = Nats::start(folder.path()).await;
    let desk = Desk::new(folder.path(), nats.url(), 1).await;
    let jetstream = nats.jetstream().await;
    for consumer in ["EXPIRED", "DUE"] {
        let delay = jetstream.get_stream("DELAY_mail").await.expect("a stream");
        delay.delete_consumer(consumer).await.expect("deleted");
    }
    let mut tasks = jetstream.get_stream("TASKS_mail").await.expect("a stream");
    let lane = Names::default().work_consumer(Lane::DEFAULT);
    let mut consumer = tasks.consumer_info(&lane).await.expect("a consumer").config;
    consumer.ack_wait = Duration::from_secs(1);
    tasks.update_consumer(consumer).await.expect("changed");
    let mut config = tasks.info().await.expect("told").config.clone();
    config.max_messages = 3;
    let _ = jetstream.update_stream(&config).await;
    jetstream.delete_stream("DEAD_mail").await.expect("deleted");
    let harmed = desk.doctor(&[]).await;
    assert_eq!(harmed.code, Some(1), "{}", harmed.text);
    let of_lane = format!("consumer TASKS_mail/{lane} is not as provisioned: wanted ack_wait=");
    for (what, severity) in [
        ("consumer DELAY_mail/EXPIRED is missing", "fault"),
        ("consumer DELAY_mail/DUE is missing", "fault"),
        ("stream TASKS_mail is not as provisioned: wanted max_msgs=1000000", "fault"),
        ("stream DEAD_mail is missing", "fault"),
        (of_lane.as_str(), "fault"),
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
    let mut fleet = Fleet::builder().with_keys().probe(|queue| queue.tasks_max(10)).workers("probe", 0).start().await;
    for _ in 0..8 {
        fleet.submit(&Probe::echo("waits")).await;
    }
    // One that has just started measures at once.
    fleet.replace_dispatcher().await;
    eventually("the metrics tell the same", async || {
        let text = fleet.http.get("/metrics").send().await.expect(200).text();
        let is_told = |name: &str, value: &str| {
            let mut samples = text.lines().filter(|line| line.starts_with(name) && line.ends_with(value));
            samples.any(|line| line.contains("limit=\"tasks_max\"") && line.contains("queue=\"probe\""))
        };
        text.contains("workfleet_queue_used{").then(|| {
            assert!(is_told("workfleet_queue_used{", " 8") && is_told("workfleet_queue_limit{", " 10"), "{text}");
            let places = text.lines().filter(|line| line.starts_with("workfleet_dispatcher_limit{"));
            assert!(places.clone().count() == 9 && places.clone().all(|line| !line.ends_with(" 0")), "{text}");
        })
    })
    .await;
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
    for _ in 0..2 {
        fleet.submit(&Probe::echo("waits")).await;
    }
    let full = run("audit", &["doctor", "--json"]).await;
    assert_eq!(full.code, Some(1), "{}", full.text);
    assert_eq!(full.found("queue probe: 10 of 10 are used (tasks_max, 100 %)")["severity"], "fault");

    let refused = run("backup", &["doctor", "--json", "--system-nkey-file", &sys]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.text);
    let unread = (&refused.document["grade"], &refused.document["replicas"]);
    assert_eq!(unread, (&json!("unknown"), &Value::Null), "{}", refused.text);
    assert_eq!(refused.document["servers"].as_array().map(Vec::len), Some(1), "its disk was read: {}", refused.text);
    assert_eq!(refused.found("this client may not ask $JS.API.STREAM.MSG.GET.KV_QUEUES")["severity"], "fault");
}
