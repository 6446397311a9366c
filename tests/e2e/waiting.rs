use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use workfleet_tests::{Nats, Process, Spec, eventually, get, program};

/// Longest time in which a process that waits for nothing but the broker leaves: far less than it would wait.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(5);

/// A program with an admin address, whose broker is there or not.
struct Waiting {
    process: Process,
    addresses: PathBuf,
}

impl Waiting {
    fn start(binary: &str, arguments: &[&str], nats: &str, folder: &Path) -> Self {
        let addresses = folder.join(format!("{binary}.json"));
        let mut spec = Spec::new(binary, program(binary))
            .variable("WORKFLEET_NATS_URL", nats)
            .variable("WORKFLEET_NATS_CONNECT_TIMEOUT", "10m")
            .variable("WORKFLEET_ADMIN_ADDR", "127.0.0.1:0")
            .variable("WORKFLEET_HTTP_ADDR", "127.0.0.1:0")
            .variable("WORKFLEET_GRPC_ADDR", "127.0.0.1:0")
            .variable("WORKFLEET_ADDR_FILE", addresses.display().to_string());
        for argument in arguments {
            spec = spec.argument(*argument);
        }
        Self { process: Process::start(&spec, folder), addresses }
    }

    fn address(&self) -> Option<SocketAddr> {
        let addresses: Value = serde_json::from_slice(&std::fs::read(&self.addresses).ok()?).ok()?;
        addresses["admin"].as_str()?.parse().ok()
    }

    /// Status and text.
    async fn says(&self, path: &str) -> (u16, String) {
        let admin = eventually("it listens", async || self.address()).await;
        let answer = get(format!("http://{admin}/{path}")).await.expect("an answer");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    }

    async fn is_not_ready(&self, reason: &str) {
        let what = format!("it says {reason:?}");
        eventually(&what, async || {
            let (status, said) = self.says("readyz").await;
            (status == 503 && said.contains(reason)).then_some(())
        })
        .await;
        assert_eq!(self.says("livez").await.0, 200, "nothing that a restart would mend");
        assert_eq!(self.says("metrics").await.0, 200);
    }

    async fn is_ready(&self) {
        eventually("it is ready", async || (self.says("readyz").await.0 == 200).then_some(())).await;
    }

    async fn leaves_at_once(&mut self) {
        let begun = Instant::now();
        self.process.terminate();
        let status = self.process.left().await;
        assert!(status.success(), "{status}");
        assert!(begun.elapsed() < LEAVE_TIME_MAX, "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn processes_say_what_they_wait_for_and_go_through_an_outage_alive() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut nats = Nats::start(folder.path()).await;
    nats.kill();
    let queues = folder.path().join("queues.toml");
    std::fs::write(&queues, "[queue.thumbnail]\ntasks_bytes_max = 1048576\nresults_bytes_max = 1048576\n")
        .expect("a file");
    let arguments = ["serve", "--queues", &queues.display().to_string()];
    let mut dispatcher = Waiting::start("workfleet", &arguments, &nats.url(), folder.path());
    let mut worker = Waiting::start("workfleet-thumbnail", &[], &nats.url(), folder.path());
    for process in [&dispatcher, &worker] {
        process.is_not_ready("no NATS server answers").await;
    }
    nats.restart().await;
    for process in [&dispatcher, &worker] {
        process.is_ready().await;
    }
    nats.kill();
    dispatcher.is_not_ready("the broker cannot be reached").await;
    worker.is_not_ready("no connection to the broker").await;
    nats.restart().await;
    for process in [&mut dispatcher, &mut worker] {
        process.is_ready().await;
        process.leaves_at_once().await;
    }
}

#[tokio::test]
async fn a_job_that_waits_for_the_broker_listens_when_it_is_asked_to_leave() {
    let folder = tempfile::tempdir().expect("a folder");
    let queues = folder.path().join("queues.toml");
    std::fs::write(&queues, "[queue.mail]\n").expect("a file");
    let spec = Spec::new("provision", program("workfleet"))
        .argument("provision")
        .argument("--queues")
        .argument(queues.display().to_string())
        .variable("WORKFLEET_NATS_URL", "nats://127.0.0.1:9");
    let mut provision = Process::start(&spec, folder.path());
    eventually("it waits", async || provision.log().contains("no NATS server answers").then_some(())).await;
    provision.terminate();
    // By itself: a process that does not listen is ended by the signal, or, as the first of a container, not at all.
    assert_eq!(provision.left().await.code(), Some(143));
}

#[tokio::test]
async fn who_still_waits_for_the_broker_leaves_at_once_when_asked_to() {
    let folder = tempfile::tempdir().expect("a folder");
    // Port 9 is nobody's; the second broker takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silent = format!("nats://{}", silent.local_addr().expect("an address"));
    for (number, nats) in ["nats://127.0.0.1:9", &silent].into_iter().enumerate() {
        let folder = folder.path().join(number.to_string());
        std::fs::create_dir(&folder).expect("a folder");
        let mut dispatcher = Waiting::start("workfleet", &["serve"], nats, &folder);
        let mut worker = Waiting::start("workfleet-thumbnail", &[], nats, &folder);
        for process in [&mut dispatcher, &mut worker] {
            assert_eq!(process.says("livez").await.0, 200);
            process.leaves_at_once().await;
        }
    }
}
