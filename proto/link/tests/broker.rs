//! The link against a real server: what the broker answers must arrive as what it means.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use workfleet_link::blobs;
use workfleet_link::broker::{Broker, BrokerConfig};
use workfleet_link::config::Vars;
use workfleet_link::pipeline::{Pipeline, Publish, PublishError};
use workfleet_link::read;

/// A server of its own for each test, gone with it.
struct Server {
    process: Child,
    store: tempfile::TempDir,
    url: String,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(arguments: &[&str]) -> Self {
        let store = tempfile::tempdir().expect("a temporary folder");
        let binary = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../.tools/bin/nats-server");
        let process = Command::new(&binary)
            .args(["--jetstream", "--addr", "127.0.0.1", "--port", "-1", "--ports_file_dir"])
            .arg(store.path())
            .arg("--store_dir")
            .arg(store.path().join("store"))
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}; run `make tools`", binary.display()));
        let ports = store.path().join(format!("nats-server_{}.ports", process.id()));
        let url = loop {
            // The file appears when the server listens.
            let text = std::fs::read_to_string(&ports).unwrap_or_default();
            if let Ok(ports) = serde_json::from_str::<serde_json::Value>(&text) {
                break ports["nats"][0].as_str().expect("an address").to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Self { process, store, url }
    }

    async fn connect(&self) -> Broker {
        Broker::connect(&config(&self.url)).await.expect("a connection")
    }

    /// The address with a login in it.
    fn url_of(&self, login: &str) -> String {
        self.url.replacen("://", &format!("://{login}@"), 1)
    }
}

fn config(url: &str) -> BrokerConfig {
    BrokerConfig::read(&mut Vars::from_pairs([("WORKFLEET_NATS_URL", url)]), "test")
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.store.path();
    }
}

async fn stream(broker: &Broker, config: Config) {
    broker.jetstream.create_stream(config).await.expect("a stream");
}

fn message(subject: &str) -> Publish {
    Publish::new(subject.to_owned(), Bytes::from_static(b"x"))
}

#[tokio::test]
async fn a_lost_compare_and_set_is_told_from_everything_else() {
    let server = Server::start().await;
    let broker = server.connect().await;
    stream(&broker, Config { name: "R".into(), subjects: vec!["r.*".into()], ..Config::default() }).await;
    let pipeline = Pipeline::start(&broker);
    let first = |subject: &str| Publish { expected_sequence: Some(0), ..message(subject) };

    let racers = futures::future::join_all((0..32).map(|_| pipeline.publish(first("r.a")))).await;
    assert_eq!(racers.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{racers:?}");
    assert!(racers.iter().all(|outcome| matches!(outcome, Ok(_) | Err(PublishError::Lost))), "{racers:?}");

    let nowhere = pipeline.publish(message("nowhere.a")).await;
    assert!(matches!(nowhere, Err(PublishError::NoStream { .. })), "{nowhere:?}");
}

#[tokio::test]
async fn a_repeated_id_is_acknowledged_as_a_duplicate() {
    let server = Server::start().await;
    let broker = server.connect().await;
    stream(&broker, Config { name: "R".into(), subjects: vec!["r.*".into()], ..Config::default() }).await;
    let pipeline = Pipeline::start(&broker);
    let named = || Publish { message_id: Some("id/1/1".to_owned()), ..message("r.a") };
    assert!(!pipeline.publish(named()).await.expect("stored").duplicate);
    assert!(pipeline.publish(named()).await.expect("stored before").duplicate);
}

#[tokio::test]
async fn a_full_work_queue_says_that_it_is_full() {
    let server = Server::start().await;
    let broker = server.connect().await;
    let config = Config {
        name: "Q".into(),
        subjects: vec!["q.*".into()],
        retention: RetentionPolicy::WorkQueue,
        discard: DiscardPolicy::New,
        max_messages: 2,
        ..Config::default()
    };
    stream(&broker, config).await;
    let pipeline = Pipeline::start(&broker);
    for _ in 0..2 {
        pipeline.publish(message("q.a")).await.expect("room");
    }
    assert_eq!(pipeline.publish(message("q.a")).await, Err(PublishError::Full));
}

#[tokio::test]
async fn the_leader_is_read_by_subject_and_absence_is_not_an_error() {
    let server = Server::start().await;
    let broker = server.connect().await;
    stream(&broker, Config { name: "R".into(), subjects: vec!["r.*".into()], ..Config::default() }).await;
    let stored = Pipeline::start(&broker).publish(message("r.a")).await.expect("stored");
    let found = read::last_on_subject(&broker, "R", "r.a").await.expect("an answer").expect("a message");
    assert_eq!((found.sequence, found.payload.as_ref()), (stored.sequence, b"x".as_ref()));
    assert!(read::last_on_subject(&broker, "R", "r.b").await.expect("an answer").is_none());
    let missing = read::last_on_subject(&broker, "MISSING", "r.a").await;
    assert!(matches!(missing, Err(read::ReadError::NoStream { .. })), "{missing:?}");
}

#[tokio::test]
async fn a_publish_without_a_broker_is_unanswered_and_never_hangs() {
    let mut server = Server::start().await;
    let broker = server.connect().await;
    stream(&broker, Config { name: "R".into(), subjects: vec!["r.*".into()], ..Config::default() }).await;
    let pipeline = Pipeline::start(&broker);
    server.process.kill().expect("a running server");
    server.process.wait().expect("its end");
    let outcome = tokio::time::timeout(Duration::from_secs(15), pipeline.publish(message("r.a"))).await;
    assert_eq!(outcome.expect("an answer in time"), Err(PublishError::Unanswered));
}

/// More than the client and all its acknowledgements can hold, over several pipelines, with nobody there to answer.
#[tokio::test]
async fn many_pipelines_over_a_broker_that_is_gone_all_come_to_an_end() {
    let mut server = Server::start().await;
    let broker = server.connect().await;
    stream(&broker, Config { name: "R".into(), subjects: vec!["r.*".into()], ..Config::default() }).await;
    let pipelines: Vec<Pipeline> = (0..8).map(|_| Pipeline::start(&broker)).collect();
    server.process.kill().expect("a running server");
    server.process.wait().expect("its end");
    let publishes = (0..16_000).map(|n| pipelines[n % 8].publish(message("r.a")));
    let outcomes = tokio::time::timeout(Duration::from_secs(60), futures::future::join_all(publishes)).await;
    let outcomes = outcomes.expect("an answer to each");
    assert!(outcomes.iter().all(|outcome| *outcome == Err(PublishError::Unanswered)), "{:?}", outcomes[0]);
}

#[tokio::test]
async fn what_was_published_before_close_is_there_after_it() {
    let server = Server::start().await;
    let broker = server.connect().await;
    stream(&broker, Config { name: "R".into(), subjects: vec!["r.*".into()], ..Config::default() }).await;
    for _ in 0..200 {
        broker.client.publish("r.a", Bytes::from_static(b"x")).await.expect("buffered");
    }
    broker.close().await;
    let other = server.connect().await;
    let count = other.jetstream.get_stream("R").await.expect("the stream").cached_info().state.messages;
    assert_eq!(count, 200);
}

/// A refusal is tried again for half a minute; nobody waits for that here.
async fn logs_in(url: &str) -> bool {
    let connected = tokio::time::timeout(Duration::from_secs(5), Broker::connect(&config(url))).await;
    let Ok(Ok(broker)) = connected else { return false };
    broker.client.flush().await.is_ok()
}

#[tokio::test]
async fn user_and_password_and_token_in_the_address_log_in() {
    let named = Server::start_with(&["--user", "me", "--pass", "se:cr@t"]).await;
    assert!(logs_in(&named.url_of("me:se%3Acr%40t")).await);
    // One login goes for every server of the list.
    let (first, second) = (named.url_of("me:se%3Acr%40t"), &named.url);
    assert!(logs_in(&format!("{second},{first}")).await);
    assert!(!logs_in(&named.url).await);
    let token = Server::start_with(&["--auth", "t0ken"]).await;
    assert!(logs_in(&token.url_of("t0ken")).await);
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_told_without_its_password() {
    let error = Broker::connect(&config("nats://me:secret@host:notaport")).await.expect_err("no address").to_string();
    assert!(error.contains("***@host:notaport") && !error.contains("secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_reads_at_once_keep_the_connection_and_who_does_not_read_on_holds_up_nobody() {
    let server = Server::start().await;
    let broker = server.connect().await;
    let subjects = ["$O.IN_mail.C.>", "$O.IN_mail.M.>"].map(str::to_owned).to_vec();
    stream(&broker, Config { name: "OBJ_IN_mail".to_owned(), subjects, allow_direct: true, ..Config::default() }).await;
    let blob = "mail_picture".parse().expect("an id");
    let info = blobs::put_bytes(&broker, &blob, Bytes::from(vec![7; 3_000_000])).await.expect("stored");
    let connects = *broker.reconnects().borrow();
    // Each of them has asked for its first pieces, takes one and reads no more.
    let mut idle = Vec::new();
    for _ in 0..40 {
        let mut pieces = Box::pin(blobs::stream(&broker, info.clone()));
        pieces.try_next().await.expect("a piece").expect("the first");
        idle.push(pieces);
    }
    // And each of these is polled once, and has not so much as its answer.
    for _ in 0..40 {
        let mut pieces = Box::pin(blobs::stream(&broker, info.clone()));
        assert!(futures::poll!(pieces.next()).is_pending());
        idle.push(pieces);
    }
    let reads = (0..200).map(|_| {
        let (broker, info) = (broker.clone(), info.clone());
        tokio::spawn(async move {
            let pieces = blobs::stream(&broker, info);
            pieces.try_fold(0, |read, piece| async move { Ok(read + piece.len() as u64) }).await
        })
    });
    for read in futures::future::join_all(reads).await {
        assert_eq!(read.expect("no panic"), Ok(info.bytes));
    }
    assert_eq!(*broker.reconnects().borrow(), connects, "the server cut the connection");
    for pieces in idle {
        let left = pieces.try_fold(0, |read, piece| async move { Ok(read + piece.len() as u64) }).await;
        assert!(left.is_ok_and(|left| left <= info.bytes));
    }
}

/// A role may hear answers at its own inboxes alone, and a client that listens elsewhere would only see time-outs.
#[tokio::test]
async fn a_client_that_may_not_have_its_answers_knows_why() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let conf = folder.path().join("roles.conf");
    let users = "authorization { users: [{ user: role, password: p, permissions: { publish: \">\", subscribe: \"_INBOX_role.>\" } }] }";
    std::fs::write(&conf, users).expect("a file");
    let server = Server::start_with(&["--config", &conf.display().to_string()]).await;
    let url = server.url_of("role:p");
    for (inbox, refused) in [("_INBOX", true), ("_INBOX_other", true), ("_INBOX_role", false)] {
        let config = BrokerConfig { inbox_prefix: inbox.parse().expect("a prefix"), ..config(&url) };
        let broker = Broker::connect(&config).await.expect("the login is good");
        let ask = broker.jetstream.get_stream("NONE");
        let refusal = async {
            while broker.refusal().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            _ = ask => assert!(!refused, "{inbox}: it was answered, or not heard that it may not be"),
            () = refusal => assert!(refused, "{inbox}"),
        }
        let words = broker.refusal().map(|refusal| refusal.to_string());
        assert_eq!(words.is_some(), refused, "{inbox}");
        assert!(words.is_none_or(|words| words.contains(&format!("answers at {inbox}.*"))), "{inbox}");
        broker.close().await;
    }
}
