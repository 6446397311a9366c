use bytes::Bytes;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use workfleet_proto::v1::put_blob_request::Part;
use workfleet_proto::v1::submit_reply::Reply;
use workfleet_proto::v1::submit_request::Payload;
use workfleet_proto::v1::{
    CallRequest, DeleteBlobRequest, GetBlobRequest, GetRequest, ListQueuesRequest, ListTasksRequest, PutBlobRequest,
    ScaleRequest, SubmitRequest, WatchRequest, call_request,
};

use super::{ELSEWHERE, fleet};
use crate::auth::keyring::Keyring;

pub(super) fn submit(queue: &str) -> SubmitRequest {
    let payload = Some(Payload::Json("{}".to_owned()));
    SubmitRequest { queue: queue.to_owned(), payload, ..SubmitRequest::default() }
}

pub(super) fn bearing<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().expect("ASCII"));
    request
}

#[track_caller]
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>, code: Code, word: &str) {
    let status = answer.expect_err("it must be refused");
    assert_eq!(status.code(), code, "{status:?}");
    assert_eq!(status.metadata().get("workfleet-code").and_then(|code| code.to_str().ok()), Some(word), "{status:?}");
}

#[tokio::test]
async fn strangers_get_no_further_than_the_health() {
    let keyring = Keyring::new();
    keyring.token("product", &["probe"], &["submit", "read"]).await;
    let expired = keyring.expired_token("late", "probe").await;
    let fleet = fleet(&keyring).await;
    let mut client = fleet.grpc().await;
    refused(client.submit(submit("probe")).await, Code::Unauthenticated, "unauthenticated");
    refused(client.list_queues(ListQueuesRequest {}).await, Code::Unauthenticated, "unauthenticated");
    for token in ["wf_wrong", expired.as_str()] {
        refused(client.submit(bearing(token, submit("probe"))).await, Code::Unauthenticated, "unauthenticated");
    }
    let mut twice = bearing("wf_a", submit("probe"));
    twice.metadata_mut().append("authorization", "Bearer wf_b".parse().expect("ASCII"));
    refused(client.submit(twice).await, Code::Unauthenticated, "unauthenticated");
    let silent = tokio_stream::pending::<SubmitRequest>();
    refused(client.submit_stream(silent).await, Code::Unauthenticated, "unauthenticated");
    let silent = tokio_stream::pending::<PutBlobRequest>();
    refused(client.put_blob(silent).await, Code::Unauthenticated, "unauthenticated");

    let channel = Endpoint::from_shared(fleet.grpc_url()).expect("an address").connect().await.expect("a connection");
    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest { service: String::new() }).await;
    health.expect("probes have no token");
    let watch = HealthClient::new(channel.clone()).watch(HealthCheckRequest { service: String::new() }).await;
    let mut watch = watch.expect("nor have load balancers").into_inner();
    assert!(watch.message().await.expect("it is open").is_some());
    let questions = tokio_stream::iter([ServerReflectionRequest::default()]);
    let reflection = ServerReflectionClient::new(channel).server_reflection_info(questions).await;
    refused(reflection, Code::Unauthenticated, "unauthenticated");
}

#[tokio::test]
async fn a_token_opens_its_queues_and_no_others() {
    let keyring = Keyring::new();
    let product = keyring.token("product", &["probe"], &["submit", "read"]).await;
    let fleet = fleet(&keyring).await;
    let mut client = fleet.grpc().await;
    let with = |message| bearing(&product, message);
    let task = client.submit(with(submit("probe"))).await.expect("stored").into_inner();
    client.get(bearing(&product, GetRequest { id: task.id.clone() })).await.expect("it is there");
    let list = client.list_queues(bearing(&product, ListQueuesRequest {})).await.expect("a list").into_inner();
    assert_eq!(list.queues.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>(), ["probe"]);
    for (queue, id) in [("thumbnail", ELSEWHERE), ("nowhere", "nowhere_01h455vb4pex5vsknk084sn02q"), ("", "")] {
        let (queue, id) = (queue.to_owned(), id.to_owned());
        let no = |answer: Result<(), Status>| refused(answer, Code::PermissionDenied, "forbidden");
        no(client.submit(with(submit(&queue))).await.map(drop));
        no(client.get(bearing(&product, GetRequest { id: id.clone() })).await.map(drop));
        no(client.watch(bearing(&product, WatchRequest { id: id.clone(), cursor: None })).await.map(drop));
        let payload = Some(call_request::Payload::Json("{}".to_owned()));
        let call = CallRequest { queue: queue.clone(), payload, ..CallRequest::default() };
        no(client.call(bearing(&product, call)).await.map(drop));
        let tasks = ListTasksRequest { queue: queue.clone(), ..ListTasksRequest::default() };
        no(client.list_tasks(bearing(&product, tasks)).await.map(drop));
        no(client.scale(bearing(&product, ScaleRequest { queue: queue.clone() })).await.map(drop));
        let blob = format!("{queue}_x");
        no(client.get_blob(bearing(&product, GetBlobRequest { id: blob.clone() })).await.map(drop));
        no(client.delete_blob(bearing(&product, DeleteBlobRequest { id: blob.clone() })).await.map(drop));
        for part in [Part::Id(blob.clone()), Part::Queue(queue.clone())] {
            let parts = [Part::Data(Bytes::from_static(b"x"))].map(|part| PutBlobRequest { part: Some(part) });
            let parts = [PutBlobRequest { part: Some(part) }].into_iter().chain(parts);
            no(client.put_blob(bearing(&product, tokio_stream::iter(parts))).await.map(drop));
        }
    }
}

#[tokio::test]
async fn each_submit_of_a_stream_is_looked_at() {
    let keyring = Keyring::new();
    let product = keyring.token("product", &["probe"], &["submit"]).await;
    let reader = keyring.token("reader", &["probe"], &["read"]).await;
    let scaler = keyring.token("scaler", &["probe"], &["scale"]).await;
    let fleet = fleet(&keyring).await;
    let mut client = fleet.grpc().await;
    let requests = ["probe", "thumbnail", "probe", "nowhere"].map(submit);
    let mut replies =
        client.submit_stream(bearing(&product, tokio_stream::iter(requests))).await.expect("a stream").into_inner();
    let mut seen = Vec::new();
    while let Some(reply) = replies.message().await.expect("a reply") {
        seen.push(match reply.reply.expect("one of both") {
            Reply::Task(task) => task.queue,
            Reply::Problem(problem) => problem.code,
        });
    }
    assert_eq!(seen, ["probe", "forbidden", "probe", "forbidden"]);

    let stream = client.submit_stream(bearing(&reader, tokio_stream::iter([submit("probe")]))).await;
    refused(stream.map(drop), Code::PermissionDenied, "forbidden");
    refused(client.submit(bearing(&reader, submit("probe"))).await, Code::PermissionDenied, "forbidden");
    refused(client.list_queues(bearing(&scaler, ListQueuesRequest {})).await, Code::PermissionDenied, "forbidden");
    let scale = client.scale(bearing(&scaler, ScaleRequest { queue: "probe".to_owned() })).await;
    assert_eq!(scale.expect("a number").into_inner().waiting, 2);
}
