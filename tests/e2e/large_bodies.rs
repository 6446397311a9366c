use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use workfleet_tests::kinds::probe::ProbeRequest;
use workfleet_tests::{Fleet, eventually, stores};

const TASKS: &str = "/v1/queues/probe/tasks";
const PROTOBUF: &str = "application/x-protobuf";
/// Far more than any answer takes, and less than a silent body is given.
const AT_ONCE: Duration = Duration::from_secs(5);
/// What all large bodies together may take of a dispatcher's memory, in bodies of the largest size.
const LARGEST_AT_ONCE: usize = 8;
const LARGEST_BYTES: usize = 64 << 20;

/// A request whose body comes as the test wants it, or not at all.
struct Body(TcpStream);

impl Body {
    /// Sends the head alone.
    async fn open(fleet: &Fleet, request: &str, headers: &str) -> Self {
        let address = fleet.http.url();
        let address = address.strip_prefix("http://").expect("a URL");
        let mut body = Self(TcpStream::connect(address).await.expect("the dispatcher accepts connections"));
        let head = format!("{request} HTTP/1.1\r\nhost: x\r\n{headers}\r\n\r\n");
        assert!(body.send(head.as_bytes()).await);
        body
    }

    /// Whether there is still somebody to take it.
    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// One piece of a body that does not say how long it will be.
    async fn send_chunk(&mut self, bytes: &[u8]) -> bool {
        self.send(&[format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()).await
    }

    /// The status line and the problem. The connection may stay open.
    async fn refused(&mut self) -> (u16, Value) {
        let mut answer = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&answer).into_owned();
            let problem = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok());
            if let Some(problem) = problem {
                let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
                return (status.expect("a status"), problem);
            }
            let mut piece = [0; 4_096];
            let read = tokio::time::timeout(Duration::from_secs(30), self.0.read(&mut piece)).await;
            let read = read.expect("an answer within 30 s").expect("an answer before the connection ends");
            assert!(read > 0, "the connection has ended after {text:?}");
            answer.extend_from_slice(&piece[..read]);
        }
    }
}

/// A task whose payload is so large.
async fn submit(fleet: &Fleet, bytes: usize) -> workfleet_tests::Answer {
    let request = ProbeRequest { padding: vec![7; bytes].into(), ..Default::default() };
    fleet.http.post(TASKS).protobuf(&request).send().await
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_it_is_read_and_troubles_nobody() {
    let fleet = Fleet::builder().workers("probe", 0).probe(|queue| queue.payload_bytes_max(1_000_000)).start().await;
    let mut open = Vec::new();
    for (media, bytes) in [(PROTOBUF, "1000001"), ("application/json", "9000000"), (PROTOBUF, "99999999999999")] {
        let headers = format!("content-type: {media}\r\ncontent-length: {bytes}");
        let mut body = Body::open(&fleet, &format!("POST {TASKS}"), &headers).await;
        assert!(body.send(b"the first few").await);
        let asked = Instant::now();
        let (status, problem) = body.refused().await;
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
        assert_eq!((status, &problem["code"]), (413, &json!("payload_too_large")), "{problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(bytes)), "{problem}");
        open.push(body);
    }
    for media in [PROTOBUF, "application/json"] {
        let headers = format!("content-type: {media}\r\ntransfer-encoding: chunked");
        let mut body = Body::open(&fleet, &format!("POST {TASKS}"), &headers).await;
        // Twice what is allowed, and no end.
        for _ in 0..30 {
            assert!(body.send_chunk(&[b' '; 100_000]).await, "who is refused is let write a little longer");
        }
        let asked = Instant::now();
        let (status, problem) = body.refused().await;
        assert!(asked.elapsed() < AT_ONCE, "{:?}", asked.elapsed());
        assert_eq!((status, &problem["code"]), (413, &json!("payload_too_large")), "{problem}");
        open.push(body);
    }
    // The refused are still connected and say nothing.
    submit(&fleet, 10).await.expect(202);
    submit(&fleet, 900_000).await.expect(202);
    submit(&fleet, 1_000_000).await.expect_problem(413, "payload_too_large");
    assert_eq!(stores::read(&fleet.jetstream().await, "IN_probe").await.blobs.len(), 1);
    drop(open);
}

#[tokio::test]
async fn large_bodies_share_a_bound_and_who_finds_none_of_it_left_is_told_when_to_come_again() {
    let fleet = Fleet::builder().workers("probe", 0).start().await;
    let headers = format!("content-type: {PROTOBUF}\r\ncontent-length: {LARGEST_BYTES}");
    let mut open = Vec::new();
    for _ in 0..=LARGEST_AT_ONCE {
        let mut body = Body::open(&fleet, &format!("POST {TASKS}"), &headers).await;
        assert!(body.send(b"the first few").await);
        open.push(body);
    }
    // Once one of them is refused the others have all of it.
    let answers = open.iter_mut().map(|body| Box::pin(body.refused()));
    let ((status, problem), _, others) = futures::future::select_all(answers).await;
    drop(others);
    assert_eq!((status, &problem["code"]), (429, &json!("rate_limited")), "{problem}");
    let refused = submit(&fleet, 300_000).await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    let problem = refused.expect_problem(429, "rate_limited");
    assert!(problem["retry_after_ms"].is_u64(), "{problem}");
    for bytes in [0, 10_000, 200_000] {
        submit(&fleet, bytes).await.expect(202);
    }
    let upload = Bytes::from(vec![7; 1_000_000]);
    let upload = fleet.http.put("/v1/blobs/probe_streamed").bytes("application/octet-stream", upload);
    upload.send().await.expect(201);

    drop(open);
    let left = Instant::now();
    eventually("there is room again", async || (submit(&fleet, 300_000).await.status == 202).then_some(())).await;
    assert!(left.elapsed() < AT_ONCE, "who has gone holds nothing: {:?}", left.elapsed());
}

/// Begins an upload, and waits until the store has some of it.
async fn begin_upload(fleet: &Fleet, id: &str) -> Body {
    let mut body = Body::open(fleet, &format!("PUT /v1/blobs/{id}"), "content-length: 2000000").await;
    let jetstream = fleet.jetstream().await;
    let before = stores::read(&jetstream, "IN_probe").await.orphans.len();
    assert!(body.send(&vec![7; 1_000_000]).await);
    eventually("the first pieces are stored", async || {
        (stores::read(&jetstream, "IN_probe").await.orphans.len() > before).then_some(())
    })
    .await;
    body
}

#[tokio::test]
async fn an_upload_that_stalls_is_cut_off_and_neither_it_nor_one_whose_sender_left_leaves_anything() {
    let fleet = Fleet::builder().workers("probe", 0).start().await;
    let jetstream = fleet.jetstream().await;
    let none_left = async || stores::read(&jetstream, "IN_probe").await == stores::Stored::default();
    drop(begin_upload(&fleet, "probe_gone").await);
    eventually("the pieces of who left are deleted", async || none_left().await.then_some(())).await;

    let mut stalled = begin_upload(&fleet, "probe_stalled").await;
    let (status, problem) = stalled.refused().await;
    assert_eq!((status, &problem["code"]), (408, &json!("request_timeout")), "{problem}");
    eventually("the pieces of what stalled are deleted", async || none_left().await.then_some(())).await;
    for id in ["probe_gone", "probe_stalled"] {
        fleet.http.get(&format!("/v1/blobs/{id}")).send().await.expect_problem(404, "unknown_blob");
    }
}

#[tokio::test]
async fn what_a_dispatcher_left_unfinished_goes_with_a_sweep() {
    let mut fleet = Fleet::builder().workers("probe", 0).start().await;
    let jetstream = fleet.jetstream().await;
    let body = begin_upload(&fleet, "probe_unfinished").await;
    fleet.dispatcher().kill();
    drop(body);
    fleet.replace_dispatcher().await;
    let unfinished = async |arguments: &[&str]| {
        let output = fleet.command(&[&["blob", "sweep", "--json"], arguments].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        report["queues"][0]["unfinished"].as_u64().expect("a number")
    };
    assert_eq!(unfinished(&[]).await, 0, "it may be under way: it is young");
    assert_eq!(unfinished(&["--older-than", "0s", "--dry-run"]).await, 1);
    assert_eq!(stores::read(&jetstream, "IN_probe").await.orphans.len(), 1, "it was only counted");
    assert_eq!(unfinished(&["--older-than", "0s"]).await, 1);
    assert_eq!(stores::read(&jetstream, "IN_probe").await, stores::Stored::default());
}

#[tokio::test]
async fn a_keyed_repeat_of_a_large_submit_stores_nothing_and_another_payload_is_a_conflict() {
    let fleet = Fleet::builder().workers("probe", 0).start().await;
    let submit = async |options: &str, byte: u8, key: &str| {
        let request = ProbeRequest { padding: vec![byte; 400_000].into(), ..Default::default() };
        let post = fleet.http.post(&format!("{TASKS}{options}")).header("idempotency-key", key);
        post.protobuf(&request).send().await
    };
    let first = submit("", 7, "order-1").await.expect(202).json();
    assert_eq!(submit("", 7, "order-1").await.expect(202).json()["id"], first["id"]);
    submit("", 8, "order-1").await.expect_problem(409, "conflict");
    let stored = stores::read(&fleet.jetstream().await, "IN_probe").await;
    assert_eq!((stored.blobs.len(), stored.orphans.len()), (1, 0), "{stored:?}");

    let problem = submit("?delay=31d", 7, "order-2").await.expect_problem(400, "invalid_option");
    assert_eq!(problem["field"], "delay", "its dead letter would outlive its payload: {problem}");
    submit("?delay=20d", 7, "order-2").await.expect(202);
    let small = fleet.http.post(&format!("{TASKS}?delay=31d")).json(&json!({"echo": "small"}));
    small.send().await.expect(202);
}

#[tokio::test]
async fn a_large_output_is_shown_to_people_and_one_that_is_gone_is_named() {
    let fleet = Fleet::start().await;
    let request = ProbeRequest { output_bytes: 400_000, ..Default::default() };
    let task = fleet.http.post(TASKS).header("prefer", "wait=20").protobuf(&request).send().await.expect(200).json();
    let (id, blob) = (task["id"].as_str().expect("an id"), task["output_blob"].as_str().expect("a large output"));
    let shown = fleet.command(&["get", id]).await;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(blob) && shown.contains(&format!("workfleet get {id} --result")), "{shown}");
    let result = fleet.command(&["get", id, "--result"]).await;
    let output: Value = serde_json::from_slice(&result.stdout).expect("JSON");
    assert!(output["padding"].as_str().is_some_and(|padding| padding.len() > 500_000), "unshortened");
    let bytes = fleet.command(&["get", id, "--bytes", "padding"]).await;
    assert_eq!((bytes.status.code(), bytes.stdout.len()), (Some(0), 400_000));

    // Past the dispatcher: nobody may delete it there.
    let store = fleet.jetstream().await.get_stream("OBJ_OUT_probe").await.expect("a store");
    let name = BASE64_URL_SAFE.encode(blob.strip_prefix("probe_").expect("a blob's id"));
    store.purge().filter(format!("$O.OUT_probe.M.{name}")).await.expect("deleted");
    for form in [PROTOBUF, "application/json"] {
        let answer = fleet.http.get(&format!("/v1/tasks/{id}/result")).header("accept", form).send().await;
        let problem = answer.expect_problem(404, "unknown_blob");
        assert_eq!(problem["task_id"], id, "{problem}");
    }
    let again = fleet.task(id).await;
    assert_eq!((&again["state"], &again["output_blob"]), (&json!("completed"), &json!(blob)));
    let result = fleet.command(&["get", id, "--result"]).await;
    assert_eq!(result.status.code(), Some(5), "{}", String::from_utf8_lossy(&result.stderr));
}
