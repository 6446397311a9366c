use serde_json::{Value, json};
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use workfleet_tests::{Fleet, Probe};

#[tokio::test]
async fn health_ends_and_metrics_are_there_for_operations() {
    let mut fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("counted")).await;
    fleet.completed(&id).await;
    fleet.http.get("/livez").send().await.expect(200);
    fleet.http.get("/readyz").send().await.expect(200);
    let metrics = fleet.http.get("/metrics").send().await.expect(200).text();
    assert!(metrics.contains("messaging_client_sent_messages") || metrics.contains("http_server_request_duration"));
    assert!(!metrics.contains(&id), "no task id ever becomes a label");
    fleet.nats.kill();
    let ready = async || (fleet.http.get("/readyz").send().await.status == 503).then_some(());
    workfleet_tests::eventually("it is not ready without a broker", ready).await;
    fleet.http.get("/livez").send().await.expect(200);
}

#[tokio::test]
async fn grpc_tells_its_health_and_its_services() {
    let fleet = Fleet::builder().workers("probe", 0).start().await;
    let endpoint = Endpoint::from_shared(fleet.grpc_url()).expect("an address");
    let channel = endpoint.connect().await.expect("a connection");
    let mut health = HealthClient::new(channel.clone());
    let request = HealthCheckRequest { service: "workfleet.v1.Dispatcher".to_owned() };
    let status = health.check(request).await.expect("an answer").into_inner().status();
    assert_eq!(status, ServingStatus::Serving);

    let mut reflection = ServerReflectionClient::new(channel);
    let question = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(question) };
    let answers = reflection.server_reflection_info(tokio_stream::iter([request])).await.expect("a stream");
    let answer = answers.into_inner().message().await.expect("an answer").expect("one").message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    assert!(list.service.iter().any(|service| service.name == "workfleet.v1.Dispatcher"), "{list:?}");
}

#[tokio::test]
async fn the_description_names_what_there_is() {
    let fleet = Fleet::builder().workers("probe", 0).start().await;
    let document = fleet.http.get("/openapi.json").send().await.expect(200).json();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
    let paths = document["paths"].as_object().expect("paths");
    let described = |tail: &str| paths.keys().any(|path| path.ends_with(tail));
    for tail in ["/tasks", "/calls", "/v1/tasks/{id}", "/result", "/events", "/v1/queues", "/livez", "/metrics"] {
        assert!(described(tail), "{tail} is not among {:?}", paths.keys());
    }
    // What is described and takes no parameter can be asked for.
    for (path, methods) in paths.iter().filter(|(path, _)| !path.contains('{')) {
        if methods.get("get").is_some() {
            assert_eq!(fleet.http.get(path).send().await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn paths_and_methods_that_are_not_there() {
    let fleet = Fleet::builder().workers("probe", 0).start().await;
    fleet.http.get("/v1/nothing").send().await.expect_problem(404, "not_found");
    fleet.http.get("/v1/queues/probe/tasks/extra/parts").send().await.expect_problem(404, "not_found");
    fleet.http.post("/v1/queues").json(&json!({})).send().await.expect_problem(405, "method_not_allowed");
}

#[tokio::test]
async fn json_may_be_written_in_camel_case_and_is_answered_as_the_proto_has_it() {
    let fleet = Fleet::start().await;
    let request = fleet.http.post("/v1/queues/probe/tasks").header("prefer", "wait=20");
    let task = request.json(&json!({"echo": "camel", "sleepMs": 1, "failTimes": 0})).send().await.expect(200).json();
    assert_eq!(task["output"]["echo"], "camel");
    let keys = task.as_object().expect("an object").keys();
    assert!(keys.clone().all(|key| !key.contains(char::is_uppercase)), "{keys:?}");
    assert_eq!(task["deadline"], Value::Null, "what does not apply is null");

    let empty = fleet.http.post("/v1/queues/probe/tasks").bytes("application/x-protobuf", "").send().await;
    empty.expect(202);
}
