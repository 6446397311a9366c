use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use workfleet_tests::{Call, Fleet, FleetBuilder, Reaction, Receiver, Traces, eventually};

/// Most of an answer's body that is kept.
const BODY_BYTES_MAX: usize = 4 * 1024;

/// One worker, few attempts, and little time for each.
fn fleet() -> FleetBuilder {
    // Receivers of tests are on loopback.
    Fleet::builder()
        .queue("webhook", |queue| queue.attempts_max(3))
        .workers("probe", 0)
        .workers("webhook", 1)
        .variable("WORKFLEET_WEBHOOK_ALLOW_PRIVATE", "true")
        .variable("WORKFLEET_WEBHOOK_TIMEOUT", "1s")
}

async fn submit(fleet: &Fleet, options: &str, payload: &Value) -> String {
    let answer = fleet.http.post(&format!("/v1/queues/webhook/tasks{options}")).json(payload).send().await.expect(202);
    answer.json()["id"].as_str().expect("a task has an id").to_owned()
}

fn event(url: &str) -> Value {
    json!({"url": url, "type": "invoice.paid", "data": {"number": 17, "lines": [1, 2.5, null]}})
}

async fn deliver(fleet: &Fleet, receiver: &Receiver) -> Value {
    let id = submit(fleet, "", &event(&receiver.url())).await;
    fleet.ended(&id).await
}

fn failure(task: &Value) -> (&str, u64) {
    assert_eq!(task["state"], "failed", "{task:#}");
    (task["failure"]["code"].as_str().unwrap_or_default(), task["attempt"].as_u64().unwrap_or_default())
}

#[tokio::test]
async fn a_delivery_can_be_verified_and_belongs_to_its_tasks_trace() {
    let traces = Traces::start().await;
    let folder = TempDir::new().expect("a folder");
    let secret = format!("whsec_{}", STANDARD.encode([7; 32]));
    std::fs::write(folder.path().join("shop"), &secret).expect("written");
    let builder = fleet().traces_to(traces.endpoint());
    let fleet = builder.variable("WORKFLEET_WEBHOOK_SECRETS_DIR", &folder.path().display().to_string()).start().await;
    let receiver = Receiver::start([Reaction::Status(503), Reaction::Status(200)]).await;
    let mut payload = event(&receiver.url());
    payload["secret_ref"] = "shop".into();
    let id = submit(&fleet, "", &payload).await;
    let task = fleet.completed(&id).await;
    assert_eq!((&task["output"]["status"], &task["output"]["body"]), (&json!(200), &json!("said")), "{task:#}");

    let calls = receiver.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].body, calls[1].body, "the same event");
    let trace = task["trace_id"].as_str().expect("a trace id");
    let spans = traces.named(trace, "POST", 2).await;
    for call in &calls {
        let headers: BTreeMap<&str, &str> =
            call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!((call.line.as_str(), headers["webhook-id"]), ("POST /in HTTP/1.1", id.as_str()));
        verify(&[7; 32], call);
        let body = call.json();
        assert_eq!(body["data"], payload["data"]);
        assert_eq!((&body["type"], &body["timestamp"]), (&json!("invoice.paid"), &task["submitted_at"]));
        let parent: Vec<&str> = headers["traceparent"].split('-').collect();
        assert_eq!(parent[1], trace);
        let span = spans.iter().find(|span| span.id == parent[2]).expect("the receiver goes on below our request");
        assert_eq!((span.kind, span.attribute("server.address")), ("client", "127.0.0.1"));
    }
}

/// As a receiver does it: by the specification's words, not by the worker's code.
#[track_caller]
fn verify(secret: &[u8], call: &Call) {
    let mut signed = format!("{}.{}.", call.header("webhook-id"), call.header("webhook-timestamp")).into_bytes();
    signed.extend_from_slice(&call.body);
    let expected = format!("v1,{}", STANDARD.encode(hmac_sha256(secret, &signed)));
    assert_eq!(call.header("webhook-signature"), expected);
}

/// RFC 2104, for keys of at most one block.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    use sha2::{Digest as _, Sha256};
    let pad = |byte: u8| -> Vec<u8> {
        let mut block = key.to_vec();
        block.resize(64, 0);
        block.into_iter().map(|key| key ^ byte).collect()
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

#[tokio::test]
async fn a_receiver_that_is_not_well_at_first_gets_its_event() {
    let fleet = fleet().start().await;
    let receiver = Receiver::start([Reaction::Status(503), Reaction::Status(503), Reaction::Status(204)]).await;
    let task = deliver(&fleet, &receiver).await;
    assert_eq!((&task["state"], &task["attempt"]), (&json!("completed"), &json!(3)), "{task:#}");
    assert_eq!(receiver.calls().len(), 3);
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_gets_it() {
    let fleet = fleet().start().await;
    let busy = Reaction::Header(429, "retry-after", "3".to_owned());
    let receiver = Receiver::start([busy, Reaction::Status(204)]).await;
    let task = deliver(&fleet, &receiver).await;
    assert_eq!((&task["state"], &task["attempt"]), (&json!("completed"), &json!(2)), "{task:#}");
    let calls = receiver.calls();
    let waited = calls[1].at - calls[0].at;
    assert!((Duration::from_millis(2_900)..Duration::from_secs(6)).contains(&waited), "{waited:?}");
}

#[tokio::test]
async fn a_receiver_that_is_gone_or_elsewhere_is_called_once() {
    let fleet = fleet().start().await;
    let elsewhere = Receiver::start([Reaction::Status(204)]).await;
    let redirect = |status| Reaction::Header(status, "location", elsewhere.url());
    let cases = [
        (Reaction::Status(410), "gone"),
        (Reaction::Status(404), "rejected"),
        (redirect(302), "redirected"),
        (redirect(308), "redirected"),
    ];
    for (reaction, code) in cases {
        let receiver = Receiver::start([reaction]).await;
        assert_eq!(failure(&deliver(&fleet, &receiver).await), (code, 1));
        assert_eq!(receiver.calls().len(), 1);
    }
    assert_eq!(elsewhere.connections(), 0, "no redirect is followed");
}

#[tokio::test]
async fn no_receiver_holds_a_slot_for_longer_than_the_timeout() {
    // A single slot, so that whatever holds it for too long is seen by the next task.
    let fleet = fleet().slots(1).start().await;
    let well = Receiver::start([Reaction::Status(204)]).await;
    let cases = [
        (Reaction::Hang, Err("timeout")),
        (Reaction::Reset, Err("unreachable")),
        (Reaction::EndlessBody(200), Ok(())),
        (Reaction::SlowBody(200), Ok(())),
        (Reaction::EndlessBody(503), Err("server_error")),
    ];
    for (reaction, expected) in cases {
        let receiver = Receiver::start([reaction.clone()]).await;
        let id = submit(&fleet, "?attempts_max=1", &event(&receiver.url())).await;
        let called = receiver.called(1).await[0].at;
        let next = submit(&fleet, "", &event(&well.url())).await;
        fleet.completed(&next).await;
        let held: Duration = Instant::now() - called;
        // A second's timeout, and what two tasks take on a busy machine.
        assert!(held < Duration::from_secs(4), "{reaction:?}: {held:?}");
        let task = fleet.ended(&id).await;
        match expected {
            Ok(()) => {
                assert_eq!(task["state"], "completed", "{reaction:?}: {task:#}");
                let body = task["output"]["body"].as_str().unwrap_or_default();
                assert!((1..=BODY_BYTES_MAX).contains(&body.len()), "{reaction:?}: {} bytes", body.len());
            }
            Err(code) => assert_eq!(failure(&task), (code, 1), "{reaction:?}"),
        }
        assert_eq!(receiver.calls().len(), 1, "{reaction:?}");
    }
}

#[tokio::test]
async fn private_addresses_are_not_called() {
    let fleet = fleet().variable("WORKFLEET_WEBHOOK_ALLOW_PRIVATE", "false").start().await;
    let receiver = Receiver::start([Reaction::Status(204)]).await;
    // The same port of the other loopback address. A machine may have none, or another program there.
    let other = tokio::net::TcpListener::bind(("::1", receiver.port())).await;
    for host in ["127.0.0.1", "localhost", "[::1]", "169.254.169.254", "2130706433", "[::ffff:127.0.0.1]"] {
        let id = submit(&fleet, "", &event(&format!("http://{host}:{}/in", receiver.port()))).await;
        assert_eq!(failure(&fleet.ended(&id).await), ("private_address", 1), "{host}");
    }
    assert_eq!(receiver.connections(), 0);
    assert!(other.is_err() || other.is_ok_and(|other| other.accept().now_or_never().is_none()), "::1 was called");
}

#[tokio::test]
async fn data_arrives_as_deep_as_is_documented_and_deeper_is_refused() {
    let fleet = fleet().start().await;
    let receiver = Receiver::start([Reaction::Status(204)]).await;
    // Two levels each time.
    let nested = |depth| (0..depth).fold(json!("deep"), |inner, _| json!({"in": [inner]}));
    let payload = |depth| json!({"url": receiver.url(), "type": "deep", "data": nested(depth)});
    let id = submit(&fleet, "", &payload(16)).await;
    fleet.completed(&id).await;
    assert_eq!(receiver.calls()[0].json()["data"], nested(16));
    let id = submit(&fleet, "", &payload(17)).await;
    assert_eq!(failure(&fleet.ended(&id).await), ("invalid_data", 1));
    assert_eq!(receiver.calls().len(), 1);
}

#[tokio::test]
async fn a_drain_of_both_workers_delivers_what_is_in_flight_exactly_once() {
    const DELIVERIES: usize = 12;
    let builder = fleet().workers("webhook", 2).slots(DELIVERIES / 2);
    let mut fleet = builder.variable("WORKFLEET_WEBHOOK_TIMEOUT", "15s").start().await;
    let receiver = Receiver::start([Reaction::After(Duration::from_secs(4))]).await;
    let mut ids = Vec::new();
    for _ in 0..DELIVERIES {
        ids.push(submit(&fleet, "", &event(&receiver.url())).await);
    }
    receiver.called(DELIVERIES).await;
    for worker in &mut fleet.workers {
        worker.process().terminate();
    }
    for worker in &mut fleet.workers {
        assert!(worker.process().left().await.success());
    }
    // Others are there, should anything have been handed back.
    fleet.add_worker("webhook").await;
    for id in &ids {
        let task = fleet.completed(id).await;
        assert_eq!(task["attempt"], 1, "{task:#}");
    }
    let last = submit(&fleet, "", &event(&receiver.url())).await;
    fleet.completed(&last).await;
    let mut called: Vec<String> = receiver.calls().iter().map(|call| call.header("webhook-id").to_owned()).collect();
    called.sort_unstable();
    ids.push(last);
    ids.sort_unstable();
    assert_eq!(called, ids, "each once");
}

#[tokio::test]
async fn a_secret_is_changed_without_a_restart() {
    let folder = TempDir::new().expect("a folder");
    let variable = folder.path().display().to_string();
    let fleet = fleet().variable("WORKFLEET_WEBHOOK_SECRETS_DIR", &variable).start().await;
    let receiver = Receiver::start([Reaction::Status(204)]).await;
    assert_eq!(failure(&deliver(&fleet, &receiver).await), ("unknown_secret", 1));
    for secret in [[1; 32], [2; 32]] {
        let text = format!("whsec_{}\n", STANDARD.encode(secret));
        std::fs::write(folder.path().join("default"), text).expect("written");
        assert_eq!(deliver(&fleet, &receiver).await["state"], "completed");
        let calls = eventually("it is called", async || receiver.calls().pop()).await;
        verify(&secret, &calls);
    }
}
