use prost::Message as _;
use serde_json::json;
use tonic::Code;
use workfleet_proto::v1::submit_request::Payload;
use workfleet_proto::v1::{GetRequest, SubmitRequest};
use workfleet_tests::kinds::probe::ProbeRequest;
use workfleet_tests::{Answer, Fleet, Probe};

const TASKS: &str = "/v1/queues/probe/tasks";

/// Nothing here needs a worker, and without one nothing can slip through unseen.
async fn fleet() -> Fleet {
    Fleet::builder().workers("probe", 0).start().await
}

async fn submit(fleet: &Fleet, content_type: &str, body: &str) -> Answer {
    fleet.http.post(TASKS).bytes(content_type, body.to_owned()).send().await
}

async fn nothing_was_stored(fleet: &Fleet) {
    let scale = fleet.http.get("/v1/scale/probe").send().await.expect(200).json();
    assert_eq!(scale["waiting"], 0, "{scale}");
    fleet.http.get("/livez").send().await.expect(200);
}

#[tokio::test]
async fn an_unknown_queue_names_the_known_ones() {
    let fleet = fleet().await;
    let answer = fleet.http.post("/v1/queues/prob/tasks").json(&json!({})).send().await;
    let problem = answer.expect_problem(404, "unknown_queue");
    assert_eq!(problem["known"], json!(["probe"]));
    for name in ["probe.%3E", "*", "%3E", "Probe", "probe%20x", "..%2F..%2Fetc", &"q".repeat(200)] {
        let answer = fleet.http.post(&format!("/v1/queues/{name}/tasks")).json(&json!({})).send().await;
        answer.expect_problem(404, "unknown_queue");
        fleet.http.get(&format!("/v1/queues/{name}")).send().await.expect_problem(404, "unknown_queue");
    }
}

#[tokio::test]
async fn payloads_that_do_not_fit_the_kind() {
    let fleet = fleet().await;
    for body in ["", "{", "nonsense", "{\"echo\":\"x\"} trailing"] {
        submit(&fleet, "application/json", body).await.expect_problem(400, "invalid_json");
    }
    for body in ["[]", "7", "{\"echo\":7}", "{\"sleep_ms\":-1}", "{\"padding\":\"not base64!\"}"] {
        submit(&fleet, "application/json", body).await.expect_problem(422, "invalid_payload");
    }
    let problem = submit(&fleet, "application/json", "{\"ecko\":\"x\"}").await.expect_problem(422, "invalid_payload");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("ecko")), "{problem}");
    submit(&fleet, "application/x-protobuf", "\u{1}\u{2}\u{3}").await.expect_problem(422, "invalid_payload");
    nothing_was_stored(&fleet).await;
}

#[tokio::test]
async fn payloads_that_no_worker_could_read() {
    let fleet = Fleet::builder().workers("probe", 0).queue("webhook", |queue| queue).start().await;
    let nested = |depth: usize| format!("{{\"data\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    for (depth, status, code) in
        [(60, 422, "invalid_payload"), (120, 422, "invalid_payload"), (1_000, 400, "invalid_json")]
    {
        let answer = fleet.http.post("/v1/queues/webhook/tasks").bytes("application/json", nested(depth)).send().await;
        answer.expect_problem(status, code);
    }
    let fits = fleet.http.post("/v1/queues/webhook/tasks").bytes("application/json", nested(40)).send().await;
    fits.expect(202);
}

#[tokio::test]
async fn other_content_types() {
    let fleet = fleet().await;
    for content_type in ["text/plain", "application/xml", "application/json2", ""] {
        submit(&fleet, content_type, "{}").await.expect_problem(415, "unsupported_media_type");
    }
    let without = fleet
        .http
        .raw(b"POST /v1/queues/probe/tasks HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        .await;
    assert!(without.starts_with("HTTP/1.1 415 "), "{without}");
    submit(&fleet, "application/json; charset=utf-8", "{}").await.expect(202);
}

#[tokio::test]
async fn a_payload_that_is_too_large_is_told_its_size() {
    let fleet = Fleet::builder().probe(|queue| queue.payload_bytes_max(700 * 1024)).workers("probe", 0).start().await;
    let body = Probe::echo("huge").padding(701 * 1024).json();
    let problem = fleet.http.post(TASKS).json(&body).send().await.expect_problem(413, "payload_too_large");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(char::is_numeric)), "{problem}");
    // Well over the limit, and yet so little that the dispatcher takes it in for the sake of its answer.
    let answer = fleet.http.post(TASKS).bytes("application/x-protobuf", vec![0; 12 << 20]).send().await;
    answer.expect_problem(413, "payload_too_large");
    nothing_was_stored(&fleet).await;
}

#[tokio::test]
async fn options_that_make_no_sense() {
    let fleet = fleet().await;
    let at = "2031-01-01T00:00:00Z";
    let options = [
        "delay=soon",
        "delay=-5s",
        "at=tomorrow",
        &format!("delay=5s&at={at}"),
        "priority=h",
        "priority=urgent",
        "attempts_max=0",
        "attempts_max=many",
        "attempts_max=100000",
        "deadline=2031-01-01T00:00:00Z",
        "tenant=x",
        "label=A:b",
        "label=nothing",
        "delays=5s",
        &format!("ordering_key={}", "k".repeat(300)),
    ];
    for option in options {
        let answer = fleet.http.post(&format!("{TASKS}?{option}")).json(&json!({})).send().await;
        answer.expect_problem(400, "invalid_option");
    }
    let key = "k".repeat(300);
    let answer = fleet.http.post(TASKS).header("idempotency-key", &key).json(&json!({})).send().await;
    answer.expect_problem(400, "invalid_option");
    nothing_was_stored(&fleet).await;
}

#[tokio::test]
async fn ids_of_no_task() {
    let fleet = fleet().await;
    let ids = [
        "probe_00000000000000000000000000",
        "probe_01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "probe_*",
        "probe_%3E",
        "nowhere_01h455vb4pex5vsknk084sn02q",
        "..%2F..%2Fetc%2Fpasswd",
        "%00",
        "probe_01h455vb4pex5vsknk084sn02q%0D%0AX-Evil:%201",
        &"x".repeat(4_000),
    ];
    for id in ids {
        fleet.http.get(&format!("/v1/tasks/{id}")).send().await.expect_problem(404, "unknown_task");
        fleet.http.get(&format!("/v1/tasks/{id}/result")).send().await.expect_problem(404, "unknown_task");
        fleet.http.get(&format!("/v1/tasks/{id}/events")).send().await.expect_problem(404, "unknown_task");
    }
    fleet.http.get("/livez").send().await.expect(200);
}

#[tokio::test]
async fn headers_from_hell() {
    let fleet = fleet().await;
    let line = "POST /v1/queues/probe/tasks HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let json = "content-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let huge = format!("x-huge: {}\r\n", "y".repeat(1 << 20));
    for refused in [huge.as_str(), "content-length: -1\r\n", "content-length: 9\r\n", "no colon\r\n", "a\0b: c\r\n"] {
        let answer = fleet.http.raw(format!("{line}{refused}{json}").as_bytes()).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{refused:.40}: {answer:.200}");
    }
    nothing_was_stored(&fleet).await;
    let strange = [
        "traceparent: 00-zz-zz-01\r\n",
        "traceparent: ff-00000000000000000000000000000000-0000000000000000-ff\r\ntracestate: =,=\r\n",
        "baggage: %%%\r\n",
        "prefer: wait=0\r\n",
    ];
    for accepted in strange {
        let answer = fleet.http.raw(format!("{line}{accepted}{json}").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 202 "), "{accepted}: {answer}");
    }
}

#[tokio::test]
async fn a_full_queue() {
    let fleet = Fleet::builder().workers("probe", 0).probe(|queue| queue.tasks_max(3)).start().await;
    for _ in 0..3 {
        fleet.submit(&Probe::echo("fits")).await;
    }
    fleet.http.post(TASKS).json(&json!({})).send().await.expect_problem(429, "queue_full");
    let request = SubmitRequest {
        queue: "probe".to_owned(),
        payload: Some(Payload::Json("{}".to_owned())),
        ..SubmitRequest::default()
    };
    let status = fleet.grpc().await.submit(request).await.expect_err("the queue is full");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
}

#[tokio::test]
async fn the_same_over_grpc() {
    let fleet = Fleet::builder().probe(|queue| queue.payload_bytes_max(700 * 1024)).workers("probe", 0).start().await;
    let mut client = fleet.grpc().await;
    let huge = ProbeRequest { padding: vec![0; 701 * 1024].into(), ..ProbeRequest::default() }.encode_to_vec();
    let cases = [
        ("nowhere", Some(Payload::Json("{}".to_owned())), Code::NotFound, "unknown_queue"),
        ("probe", Some(Payload::Json("{".to_owned())), Code::InvalidArgument, "invalid_json"),
        ("probe", Some(Payload::Json("{\"ecko\":1}".to_owned())), Code::InvalidArgument, "invalid_payload"),
        ("probe", Some(Payload::Protobuf(vec![1, 2, 3].into())), Code::InvalidArgument, "invalid_payload"),
        ("probe", Some(Payload::Protobuf(huge.into())), Code::InvalidArgument, "payload_too_large"),
    ];
    for (queue, payload, status, code) in cases {
        let request = SubmitRequest { queue: queue.to_owned(), payload, ..SubmitRequest::default() };
        let refusal = client.submit(request).await.expect_err(code);
        assert_eq!(refusal.code(), status, "{refusal:?}");
        assert_eq!(refusal.metadata().get("workfleet-code").and_then(|code| code.to_str().ok()), Some(code));
    }
    let refusal = client.get(GetRequest { id: "probe_*".to_owned() }).await.expect_err("no such task");
    assert_eq!(refusal.code(), Code::NotFound);
    nothing_was_stored(&fleet).await;
}
