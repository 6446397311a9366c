use bytes::Bytes;
use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tonic::Code;
use workfleet_proto::v1::put_blob_request::Part;
use workfleet_proto::v1::{DeleteBlobRequest, GetBlobRequest, PutBlobRequest, SubmitRequest, submit_request};
use workfleet_tests::kinds::probe::ProbeRequest;
use workfleet_tests::{Answer, Fleet, eventually, stores};

const OCTETS: &str = "application/octet-stream";

/// Bytes that no two seeds share.
fn noise(bytes: usize, seed: u64) -> Bytes {
    let mut noise = vec![0; bytes];
    rand::rngs::SmallRng::seed_from_u64(seed).fill(&mut noise[..]);
    noise.into()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Nothing here needs a worker.
async fn fleet() -> Fleet {
    Fleet::builder().workers("probe", 0).start().await
}

async fn put(fleet: &Fleet, id: &str, body: impl Into<reqwest::Body>) -> Answer {
    fleet.http.put(&format!("/v1/blobs/{id}")).bytes(OCTETS, body).send().await
}

#[tokio::test]
async fn an_upload_is_put_read_described_and_deleted() {
    let (fleet, bytes) = (fleet().await, noise(700_001, 1));
    let stored = put(&fleet, "probe_dunes.jpg", bytes.clone()).await.expect(201).json();
    assert_eq!((&stored["id"], &stored["bytes"]), (&json!("probe_dunes.jpg"), &json!(700_001)));
    assert_eq!(stored["sha256"], hex(&bytes), "{stored}");
    assert!(stored["expires_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{stored}");
    assert_eq!(put(&fleet, "probe_dunes.jpg", bytes.clone()).await.expect(200).json(), stored);
    for other in [noise(700_001, 2), noise(700_000, 1), Bytes::new()] {
        put(&fleet, "probe_dunes.jpg", other).await.expect_problem(409, "conflict");
    }

    let read = fleet.http.get("/v1/blobs/probe_dunes.jpg").send().await.expect(200);
    assert!(read.body == bytes, "other bytes came back");
    assert_eq!((read.header("content-length"), read.header("content-type")), (Some("700001"), Some(OCTETS)));
    let tag = format!("\"{}\"", hex(&bytes));
    assert_eq!(read.header("etag"), Some(tag.as_str()));
    let head = "HEAD /v1/blobs/probe_dunes.jpg HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let head = fleet.http.raw(head.as_bytes()).await.to_lowercase();
    assert!(head.starts_with("http/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("content-length: 700001\r\n") && head.contains(&format!("etag: {tag}\r\n")), "{head}");

    assert!(fleet.http.delete("/v1/blobs/probe_dunes.jpg").send().await.expect(204).body.is_empty());
    fleet.http.delete("/v1/blobs/probe_dunes.jpg").send().await.expect_problem(404, "unknown_blob");
    fleet.http.get("/v1/blobs/probe_dunes.jpg").send().await.expect_problem(404, "unknown_blob");
    assert_eq!(stores::read(&fleet.jetstream().await, "IN_probe").await, stores::Stored::default());
    put(&fleet, "probe_dunes.jpg", noise(5, 2)).await.expect(201);
    put(&fleet, "probe_nothing", Bytes::new()).await.expect(201);
    assert!(fleet.http.get("/v1/blobs/probe_nothing").send().await.expect(200).body.is_empty());
}

#[tokio::test]
async fn an_upload_without_a_name_gets_one() {
    let (fleet, bytes) = (fleet().await, noise(300_000, 1));
    let answer = fleet.http.post("/v1/blobs?queue=probe").bytes(OCTETS, bytes.clone()).send().await.expect(201);
    let location = answer.header("location").expect("where it is").to_owned();
    assert_eq!(format!("/v1/blobs/{}", answer.json()["id"].as_str().expect("an id")), location);
    assert!(fleet.http.get(&location).send().await.expect(200).body == bytes);
    let again = fleet.http.post("/v1/blobs?queue=probe").bytes(OCTETS, bytes).send().await.expect(201);
    assert_ne!(again.header("location"), Some(location.as_str()), "the same bytes under a name of their own");
    fleet.http.post("/v1/blobs?queue=prob").bytes(OCTETS, "x").send().await.expect_problem(404, "unknown_queue");
    for wrong in ["", "?queue=probe&queue=probe", "?name=x"] {
        let post = fleet.http.post(&format!("/v1/blobs{wrong}")).bytes(OCTETS, noise(900_000, 1));
        post.send().await.expect_problem(400, "invalid_option");
    }
}

#[tokio::test]
async fn names_that_are_none_or_are_not_the_callers_are_refused() {
    let fleet = fleet().await;
    let long = format!("probe_{}", "x".repeat(129));
    for wrong in ["probe", "probe_", "probe_a%20b", "probe_a%2Fb", "Probe_x", "probe_in.x", "probe_out.x", &long] {
        // Large, so that the answer must reach who is still writing.
        let problem = put(&fleet, wrong, noise(3_000_000, 1)).await.expect_problem(400, "invalid_option");
        assert_eq!(problem["field"], "id", "{problem}");
        fleet.http.get(&format!("/v1/blobs/{wrong}")).send().await.expect_problem(400, "invalid_option");
    }
    for name in ["in", "out"] {
        let theirs = format!("probe_{name}.01h455vb4pex5vsknk084sn02q.x");
        put(&fleet, &theirs, noise(3_000_000, 1)).await.expect_problem(403, "forbidden");
        fleet.http.delete(&format!("/v1/blobs/{theirs}")).send().await.expect_problem(403, "forbidden");
    }
    put(&fleet, "prob_x", noise(3_000_000, 1)).await.expect_problem(404, "unknown_queue");
    fleet.http.get("/v1/blobs/prob_x").send().await.expect_problem(404, "unknown_blob");

    let request = ProbeRequest { padding: noise(400_000, 1), ..Default::default() };
    fleet.http.post("/v1/queues/probe/tasks").protobuf(&request).send().await.expect(202);
    let stored = stores::read(&fleet.jetstream().await, "IN_probe").await;
    let payload = format!("/v1/blobs/probe_{}", stored.blobs.keys().next().expect("the payload is a blob"));
    fleet.http.delete(&payload).send().await.expect_problem(403, "forbidden");
    let read = fleet.http.get(&payload).send().await.expect(200);
    assert!(ProbeRequest::decode(read.body).expect("a request") == request, "a caller may read it");
    assert_eq!((stored.blobs.len(), stored.orphans.len()), (1, 0), "nothing that was refused left anything");
}

#[tokio::test]
async fn a_full_store_takes_nothing_large_until_there_is_room_and_small_tasks_go_on() {
    let builder = Fleet::builder().probe(|queue| queue.payload_bytes_max(1_000_000).blobs_bytes_max(4_000_000));
    let fleet = builder.start().await;
    let full = |answer: Answer| {
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(answer.expect_problem(429, "blobs_full")["retry_after_ms"].is_u64());
    };
    let large = ProbeRequest { padding: noise(700_000, 1), ..Default::default() };
    let submit = async || fleet.http.post("/v1/queues/probe/tasks").protobuf(&large).send().await;
    put(&fleet, "probe_never", noise(3_700_000, 1)).await.expect_problem(413, "payload_too_large");
    for id in ["probe_first", "probe_other", "probe_last"] {
        put(&fleet, id, noise(1_000_000, 1)).await.expect(201);
    }
    full(put(&fleet, "probe_second", noise(700_000, 2)).await);
    let pieces = (0..7).map(|seed| Ok::<_, std::io::Error>(noise(100_000, seed)));
    let unsaid = reqwest::Body::wrap_stream(futures::stream::iter(pieces));
    full(put(&fleet, "probe_third", unsaid).await);
    full(submit().await);
    let small = fleet.http.post("/v1/queues/probe/tasks").json(&json!({"echo": "small"})).send().await.expect(202);
    fleet.completed(small.json()["id"].as_str().expect("an id")).await;
    assert_eq!(put(&fleet, "probe_first", noise(1_000_000, 1)).await.status, 200, "it is there already");
    let stored = stores::read(&fleet.jetstream().await, "IN_probe").await;
    assert_eq!((stored.blobs.len(), stored.orphans.len()), (3, 0), "what was refused left nothing");

    fleet.http.delete("/v1/blobs/probe_first").send().await.expect(204);
    let id = submit().await.expect(202).json()["id"].as_str().expect("an id").to_owned();
    fleet.completed(&id).await;
    let metrics = fleet.http.get("/metrics").send().await.expect(200).text();
    let refused = metrics
        .lines()
        .find(|line| line.starts_with("workfleet_blob_rejected_total{") && line.contains(r#"reason="blobs_full""#));
    assert!(refused.is_some_and(|line| line.contains(r#"queue="probe""#) && line.ends_with(" 2")), "{refused:?}");
    eventually("the stores are measured", async || {
        let metrics = fleet.http.get("/metrics").send().await.expect(200).text();
        metrics.contains("workfleet_blob_stored{").then_some(())
    })
    .await;
}

fn part(part: Part) -> PutBlobRequest {
    PutBlobRequest { part: Some(part) }
}

/// The stable code of a refusal.
fn code(status: &tonic::Status) -> &str {
    status.metadata().get("workfleet-code").and_then(|code| code.to_str().ok()).unwrap_or_default()
}

/// An upload in pieces over gRPC.
fn upload(name: Part, bytes: &Bytes, piece: usize) -> impl futures::Stream<Item = PutBlobRequest> + use<> {
    let pieces = bytes.chunks(piece).map(|piece| part(Part::Data(Bytes::copy_from_slice(piece))));
    tokio_stream::iter(std::iter::once(part(name)).chain(pieces).collect::<Vec<_>>())
}

#[tokio::test]
async fn the_same_over_grpc() {
    let (fleet, bytes) = (fleet().await, noise(5_000_000, 1));
    let mut grpc = fleet.grpc().await;
    let named = || Part::Id("probe_dunes".to_owned());
    let stored = grpc.put_blob(upload(named(), &bytes, 700_000)).await.expect("stored").into_inner();
    assert_eq!((stored.id.as_str(), stored.bytes), ("probe_dunes", 5_000_000));
    assert_eq!((stored.sha256.as_str(), stored.expires_at.is_some()), (hex(&bytes).as_str(), true));
    let again = grpc.put_blob(upload(named(), &bytes, 4_000_000)).await.expect("the same bytes").into_inner();
    assert_eq!(again, stored);
    let other = grpc.put_blob(upload(named(), &noise(5_000_000, 2), 700_000)).await.expect_err("other bytes");
    assert_eq!((other.code(), code(&other)), (Code::AlreadyExists, "conflict"));
    let unnamed = grpc.put_blob(upload(Part::Queue("probe".to_owned()), &bytes, 700_000)).await.expect("stored");
    assert!(unnamed.into_inner().id.starts_with("probe_"));

    let mut parts = grpc.get_blob(GetBlobRequest { id: stored.id.clone() }).await.expect("a stream").into_inner();
    assert_eq!(parts.message().await.expect("a part").expect("one").info, Some(stored.clone()));
    let mut read = Vec::new();
    while let Some(part) = parts.message().await.expect("a part") {
        read.extend_from_slice(&part.data);
    }
    assert!(read == bytes, "other bytes came back");
    grpc.delete_blob(DeleteBlobRequest { id: stored.id.clone() }).await.expect("deleted");
    let gone = grpc.delete_blob(DeleteBlobRequest { id: stored.id.clone() }).await.expect_err("gone");
    assert_eq!((gone.code(), code(&gone)), (Code::NotFound, "unknown_blob"));
    let gone = grpc.get_blob(GetBlobRequest { id: stored.id }).await.expect_err("gone");
    assert_eq!((gone.code(), code(&gone)), (Code::NotFound, "unknown_blob"));
}

#[tokio::test]
async fn a_mistake_in_a_grpc_upload_is_named_and_leaves_nothing() {
    let (fleet, large) = (fleet().await, noise(5_000_000, 1));
    let mut grpc = fleet.grpc().await;
    let data = || Part::Data(noise(300_000, 1));
    let named = || Part::Id("probe_x".to_owned());
    for wrong in [vec![part(data())], vec![], vec![part(named()), part(data()), part(named())]] {
        let refused = grpc.put_blob(tokio_stream::iter(wrong)).await.expect_err("it is wrong");
        assert_eq!((refused.code(), code(&refused)), (Code::InvalidArgument, "invalid_option"), "{refused}");
    }
    let whole = vec![part(named()), part(Part::Data(large.clone()))];
    let refused = grpc.put_blob(tokio_stream::iter(whole)).await.expect_err("one piece is too large");
    assert_eq!((refused.code(), code(&refused)), (Code::InvalidArgument, "payload_too_large"), "{refused}");
    assert!(refused.message().contains("4 MiB") && refused.message().contains("pieces"), "{refused}");

    let payload = ProbeRequest { padding: large, ..Default::default() }.encode_to_vec();
    let payload = Some(submit_request::Payload::Protobuf(payload.into()));
    let submit = SubmitRequest { queue: "probe".to_owned(), payload, ..Default::default() };
    let refused = grpc.submit(submit.clone()).await.expect_err("too large");
    assert_eq!((refused.code(), code(&refused)), (Code::InvalidArgument, "payload_too_large"), "{refused}");
    assert!(refused.message().contains("PutBlob"), "{refused}");
    let mut replies = grpc.submit_stream(tokio_stream::iter([submit])).await.expect("a stream").into_inner();
    let refused = replies.message().await.expect_err("too large");
    assert_eq!((refused.code(), code(&refused)), (Code::InvalidArgument, "payload_too_large"), "{refused}");
    let jetstream = fleet.jetstream().await;
    let stored = async || stores::read(&jetstream, "IN_probe").await;
    eventually("nothing is left", async || (stored().await == stores::Stored::default()).then_some(())).await;
}

#[tokio::test]
async fn a_person_puts_gets_removes_and_sweeps() {
    let (fleet, bytes) = (fleet().await, noise(600_000, 1));
    let file = fleet.folder().join("dunes.jpg");
    std::fs::write(&file, &bytes).expect("a file");
    let (path, copy) = (file.display().to_string(), fleet.folder().join("copy").display().to_string());
    let run = async |arguments: &[&str]| {
        let output = fleet.command(arguments).await;
        (output.status.code(), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let line = |stdout: &[u8]| String::from_utf8_lossy(stdout).trim().to_owned();
    for _ in 0..2 {
        let (exit, stdout, stderr) = run(&["blob", "put", &path, "probe_dunes"]).await;
        assert_eq!((exit, line(&stdout)), (Some(0), "probe_dunes".to_owned()), "{stderr}");
    }
    let (exit, stdout, stderr) = run(&["blob", "put", &path, "--queue", "probe"]).await;
    assert!(exit == Some(0) && line(&stdout).starts_with("probe_"), "{stderr}");
    assert!(run(&["blob", "get", "probe_dunes"]).await.1 == bytes, "on the standard output");
    let (exit, stdout, stderr) = run(&["blob", "get", "probe_dunes", "--output", &copy]).await;
    assert_eq!((exit, stdout.len()), (Some(0), 0), "{stderr}");
    assert!(std::fs::read(&copy).expect("a file") == bytes);

    std::fs::write(&file, b"other bytes").expect("a file");
    for (wrong, exit, word) in [
        (vec!["put", &path, "probe_dunes"], 5, "conflict"),
        (vec!["put", &path, "probe"], 5, "invalid_option"),
        (vec!["put", &path, "--queue", "prob"], 5, "unknown_queue"),
        (vec!["put", "/nowhere/at/all", "probe_x"], 2, "/nowhere/at/all"),
        (vec!["put", &path], 2, "<ID>"),
        (vec!["get", "probe_nothing", "--output", "/nowhere/at/all"], 5, "unknown_blob"),
        (vec!["rm", "probe_nothing"], 5, "unknown_blob"),
        (vec!["sweep", "--queue", "prob"], 5, "prob"),
    ] {
        let seen = run(&[&["blob"], &wrong[..]].concat()).await;
        assert!(seen.0 == Some(exit) && seen.2.contains(word), "{wrong:?}: {seen:?}");
    }
    let (exit, _, stderr) = run(&["blob", "rm", "probe_dunes"]).await;
    assert_eq!(exit, Some(0), "{stderr}");
    fleet.http.get("/v1/blobs/probe_dunes").send().await.expect_problem(404, "unknown_blob");

    let (exit, stdout, stderr) = run(&["blob", "sweep", "--older-than", "0s", "--dry-run", "--json"]).await;
    assert_eq!(exit, Some(0), "{stderr}");
    let report: Value = serde_json::from_slice(&stdout).expect("JSON");
    let queue =
        json!({"queue": "probe", "checked": 1, "inputs": 0, "outputs": 0, "uploads": 0, "unfinished": 0, "bytes": 0});
    assert_eq!(report, json!({"queues": [queue], "dry_run": true}), "an upload is kept for its time, however old");
}
