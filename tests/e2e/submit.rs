use prost::Message as _;
use serde_json::json;
use workfleet_proto::v1::submit_request::Payload;
use workfleet_proto::v1::{GetRequest, State, SubmitRequest};
use workfleet_tests::kinds::probe::{ProbeReply, ProbeRequest};
use workfleet_tests::{Fleet, Probe};

#[tokio::test]
async fn json_over_rest() {
    let fleet = Fleet::start().await;
    let body = fleet.logged(&Probe::echo("größer"));
    let answer = fleet.http.post("/v1/queues/probe/tasks").json(&body).send().await.expect(202);
    let task = answer.json();
    let id = task["id"].as_str().expect("an id");
    assert!(id.starts_with("probe_"), "{id}");
    assert_eq!(answer.header("location"), Some(format!("/v1/tasks/{id}").as_str()));
    assert_eq!(task["queue"], "probe");
    assert_eq!(task["output"], json!(null));

    let task = fleet.completed(id).await;
    assert_eq!(task["output"]["echo"], "größer");
    assert_eq!((&task["attempt"], &task["attempts_max"]), (&json!(1), &json!(3)));
    assert_eq!(task["failure"], json!(null));
    assert_eq!(task["trace_id"].as_str().map(str::len), Some(32));
    let times = ["submitted_at", "started_at", "ended_at"].map(|name| task[name].as_str().expect("a time").to_owned());
    assert!(times.is_sorted() && times[0].ends_with('Z'), "{times:?}");
    assert_eq!(fleet.runs_of(id).len(), 1);
}

#[tokio::test]
async fn protobuf_over_rest_and_the_raw_result() {
    let fleet = Fleet::start().await;
    let request = ProbeRequest { echo: "bytes".to_owned(), padding: vec![1, 2, 3].into(), ..ProbeRequest::default() };
    let answer = fleet.http.post("/v1/queues/probe/tasks").protobuf(&request).send().await.expect(202);
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    let task = fleet.completed(&id).await;
    assert_eq!(task["output"]["padding"], "AQID", "bytes are base64 in JSON");

    let raw = fleet.http.get(&format!("/v1/tasks/{id}/result")).header("accept", "application/x-protobuf");
    let reply = ProbeReply::decode(raw.send().await.expect(200).body).expect("a reply");
    assert_eq!((reply.echo.as_str(), reply.attempt, reply.padding.as_ref()), ("bytes", 1, &[1, 2, 3][..]));
}

#[tokio::test]
async fn json_and_protobuf_over_grpc() {
    let fleet = Fleet::start().await;
    let mut client = fleet.grpc().await;
    let protobuf = ProbeRequest { echo: "same".to_owned(), ..ProbeRequest::default() }.encode_to_vec();
    for payload in [Payload::Json(r#"{"echo":"same"}"#.to_owned()), Payload::Protobuf(protobuf.into())] {
        let request = SubmitRequest {
            queue: "probe".to_owned(),
            payload: Some(payload),
            wait_ms: Some(20_000),
            ..SubmitRequest::default()
        };
        let task = client.submit(request).await.expect("a task").into_inner();
        assert_eq!(task.state(), State::Completed, "{task:?}");
        let reply = ProbeReply::decode(task.output.clone().expect("an output")).expect("a reply");
        assert_eq!(reply.echo, "same");
        assert!(task.output_json.as_deref().is_some_and(|json| json.contains("same")), "{task:?}");

        let again = client.get(GetRequest { id: task.id.clone() }).await.expect("the task").into_inner();
        assert_eq!((again.state(), again.output), (State::Completed, task.output));
    }
}

#[tokio::test]
async fn a_submit_stream_answers_each_line_in_order() {
    let fleet = Fleet::start().await;
    let line = |queue: &str| SubmitRequest {
        queue: queue.to_owned(),
        payload: Some(Payload::Json(r#"{"echo":"x"}"#.to_owned())),
        ..SubmitRequest::default()
    };
    let requests = tokio_stream::iter(vec![line("probe"), line("nowhere"), line("probe")]);
    let mut replies = fleet.grpc().await.submit_stream(requests).await.expect("a stream").into_inner();
    let mut seen = Vec::new();
    while let Some(reply) = replies.message().await.expect("a reply") {
        use workfleet_proto::v1::submit_reply::Reply;
        seen.push((reply.line, matches!(reply.reply, Some(Reply::Task(_)))));
    }
    assert_eq!(seen, [(0, true), (1, false), (2, true)]);
}

#[tokio::test]
async fn a_wait_that_ends_in_time_gives_the_output() {
    let fleet = Fleet::start().await;
    let body = Probe::echo("now").sleeps_ms(200).json();
    let request = fleet.http.post("/v1/queues/probe/tasks").header("prefer", "wait=20").json(&body);
    let answer = request.send().await.expect(200);
    assert_eq!(answer.header("preference-applied"), Some("wait=20"));
    let task = answer.json();
    assert_eq!((&task["state"], &task["output"]["echo"]), (&json!("completed"), &json!("now")));
}

#[tokio::test]
async fn a_wait_that_does_not_end_in_time_loses_nothing() {
    let fleet = Fleet::start().await;
    let body = Probe::echo("later").sleeps_ms(2_500).json();
    let request = fleet.http.post("/v1/queues/probe/tasks").header("prefer", "wait=1").json(&body);
    let answer = request.send().await.expect(202);
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert!(answer.header("location").is_some_and(|location| location.ends_with(&id)));
    assert_eq!(fleet.completed(&id).await["output"]["echo"], "later");
}

#[tokio::test]
async fn queues_tell_what_is_in_them_and_who_serves_them() {
    let fleet = Fleet::builder().slots(1).start().await;
    let running = fleet.submit(&Probe::echo("runs").sleeps_ms(4_000)).await;
    fleet.started(&running).await;
    for _ in 0..3 {
        fleet.submit(&Probe::echo("waits")).await;
    }
    let queue = fleet.http.get("/v1/queues/probe").send().await.expect(200).json();
    assert_eq!((&queue["name"], &queue["waiting"], &queue["running"]), (&json!("probe"), &json!(3), &json!(1)));
    assert_eq!(queue["workers"].as_array().map(Vec::len), Some(1), "{queue}");
    assert_eq!(queue["workers"][0]["slots"], 1);
    assert!(queue["kind"]["input"].as_str().is_some_and(|input| input.ends_with("ProbeRequest")), "{queue}");
    let list = fleet.http.get("/v1/queues").send().await.expect(200).json();
    assert_eq!(list["queues"].as_array().map(Vec::len), Some(1), "{list}");
    let scale = fleet.http.get("/v1/scale/probe").send().await.expect(200).json();
    assert_eq!((&scale["waiting"], &scale["running"], &scale["due"]), (&json!(3), &json!(1), &json!(0)), "{scale}");
    assert_eq!(scale["value"], 4, "{scale}");
}
