//! Batched direct gets against a real server.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::stream::Config;
use workfleet_link::batch::{self, Range};
use workfleet_link::broker::{Broker, BrokerConfig};
use workfleet_link::pipeline::{Pipeline, Publish};
use workfleet_link::read::{ReadError, StoredMessage};

/// A server of its own for each test, gone with it.
struct Server {
    process: Child,
    _store: tempfile::TempDir,
    broker: Broker,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    async fn start() -> Self {
        let store = tempfile::tempdir().expect("a temporary folder");
        let binary = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
        let process = Command::new(&binary)
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir"])
            .arg(store.path())
            .arg("--store_dir")
            .arg(store.path().join("store"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `make tools`", binary.display()));
        let ports = store.path().join(format!("nats-server_{}.ports", process.id()));
        let url = loop {
            let text = std::fs::read_to_string(&ports).unwrap_or_default();
            if let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) {
                break ports["nats"][0].as_str().expect("an address").to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let config = BrokerConfig::new(url, "test");
        let broker = Broker::connect(&config).await.expect("a connection");
        let config = Config {
            name: "LETTERS".to_owned(),
            subjects: vec!["letter.>".to_owned()],
            max_messages_per_subject: 1,
            allow_direct: true,
            ..Config::default()
        };
        broker.jetstream.create_stream(config).await.expect("a stream");
        let pipeline = Pipeline::start(&broker);
        for subject in ["letter.a", "letter.b", "letter.c", "letter.a", "letter.d"] {
            let message = Publish::new(subject.to_owned(), subject.as_bytes().to_vec().into());
            pipeline.publish(message).await.expect("stored");
        }
        Self { process, _store: store, broker }
    }
}

fn sequences(messages: &[StoredMessage]) -> Vec<u64> {
    messages.iter().map(|message| message.sequence).collect()
}

/// What was found, and how many questions it took.
async fn last_of(server: &Server, subjects: &[String], bytes_max: usize) -> (Vec<StoredMessage>, usize) {
    let mut found = Vec::new();
    let asked = batch::last_on_subjects(&server.broker, "LETTERS", subjects, bytes_max, |message| found.push(message));
    let questions = asked.await.expect("an answer");
    (found, questions)
}

const ALL: Range<'static> = Range { from: 1, filter: None, messages_max: 10, bytes_max: 1 << 20 };

#[tokio::test]
async fn messages_come_in_order_and_say_how_many_follow() {
    let server = Server::start().await;
    let all = batch::range(&server.broker, "LETTERS", ALL).await.expect("an answer");
    assert_eq!((sequences(&all.messages), all.pending), (vec![2, 3, 4, 5], 0));
    assert_eq!((all.messages[2].subject.as_str(), &all.messages[2].payload[..]), ("letter.a", &b"letter.a"[..]));
    let two = batch::range(&server.broker, "LETTERS", Range { messages_max: 2, from: 3, ..ALL }).await;
    let two = two.expect("an answer");
    assert_eq!((sequences(&two.messages), two.pending), (vec![3, 4], 1));
    let few = batch::range(&server.broker, "LETTERS", Range { bytes_max: 1, ..ALL }).await.expect("an answer");
    assert_eq!((sequences(&few.messages), few.pending), (vec![2], 3), "one at least");
    let filtered = Range { filter: Some("letter.c"), ..ALL };
    let filtered = batch::range(&server.broker, "LETTERS", filtered).await.expect("an answer");
    assert_eq!(sequences(&filtered.messages), [3]);
    let beyond = batch::range(&server.broker, "LETTERS", Range { from: 99, ..ALL }).await.expect("an answer");
    assert!(beyond.messages.is_empty() && beyond.pending == 0);
}

#[tokio::test]
async fn the_last_messages_of_many_subjects_come_together() {
    let server = Server::start().await;
    let subjects = ["letter.a", "letter.x", "letter.d"].map(ToOwned::to_owned);
    let (found, questions) = last_of(&server, &subjects, 1 << 20).await;
    assert_eq!((sequences(&found), questions), (vec![4, 5], 1));
    let (none, questions) = last_of(&server, &subjects[1..2], 1 << 20).await;
    assert_eq!((sequences(&none), questions), (vec![], 1));
    let many: Vec<String> = (0..2_500).map(|n| format!("letter.{}", if n % 100 == 0 { "b" } else { "none" })).collect();
    let (found, _) = last_of(&server, &many, 1 << 20).await;
    assert!(!found.is_empty() && found.iter().all(|message| message.subject == "letter.b"));
}

#[tokio::test]
async fn what_does_not_fit_into_an_answer_is_asked_for_again() {
    let server = Server::start().await;
    let subjects = ["letter.d", "letter.x", "letter.c", "letter.b", "letter.a", "letter.y"].map(ToOwned::to_owned);
    for (bytes_max, questions_max) in [(1, 4), (20, 4), (60, 3), (1 << 20, 1)] {
        let (found, questions) = last_of(&server, &subjects, bytes_max).await;
        assert_eq!(sequences(&found), [2, 3, 4, 5], "{bytes_max}");
        assert!(questions <= questions_max, "{questions} questions with {bytes_max} bytes");
    }
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_an_error() {
    let server = Server::start().await;
    let missing = batch::range(&server.broker, "NUMBERS", ALL).await.expect_err("no stream");
    assert!(matches!(missing, ReadError::NoStream { .. }), "{missing}");
}
