//! Queues whose contracts stand in one descriptor set, which has one hash.

use bytes::Bytes;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use workfleet_dispatcher::{ApiError, Options, Payload, Submit, TaskView};
use workfleet_link::kinds;
use workfleet_link::pipeline::Publish;
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::schema::SchemaHash;
use workfleet_proto::v1::{DeadLetter, Envelope, Result as Record, State};

use crate::halting::store;
use crate::place::Place;

/// The field 1 of the messages of each service; it has the service's name in small letters.
const SERVICES: [(&str, &str); 2] = [("Alpha", "alpha"), ("Beta", "beta")];

/// One file with both services.
fn descriptors() -> Vec<u8> {
    let mut file = FileDescriptorProto {
        name: Some("both.proto".to_owned()),
        package: Some("t.v1".to_owned()),
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    };
    for (service, field) in SERVICES {
        for end in ["In", "Out"] {
            let field = FieldDescriptorProto {
                name: Some(field.to_owned()),
                number: Some(1),
                label: Some(Label::Optional.into()),
                r#type: Some(Type::String.into()),
                ..FieldDescriptorProto::default()
            };
            let name = Some(format!("{service}{end}"));
            file.message_type.push(DescriptorProto { name, field: vec![field], ..DescriptorProto::default() });
        }
        let method = MethodDescriptorProto {
            name: Some("Run".to_owned()),
            input_type: Some(format!(".t.v1.{service}In")),
            output_type: Some(format!(".t.v1.{service}Out")),
            ..MethodDescriptorProto::default()
        };
        let name = Some(service.to_owned());
        file.service.push(ServiceDescriptorProto { name, method: vec![method], ..ServiceDescriptorProto::default() });
    }
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

/// A broker with the queues `alpha` and `beta`.
async fn place() -> Place {
    let place = Place::start("").await;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("both.binpb");
    std::fs::write(&path, descriptors()).expect("a file");
    let queue = |(service, name)| format!("\n[queue.{name}]\ndescriptors = {path:?}\nservice = \"t.v1.{service}\"\n");
    place.provision(&SERVICES.map(queue).concat()).await;
    place
}

async fn submit(place: &Place, queue: &str, json: &'static str) -> Result<TaskView, ApiError> {
    let submit = Submit {
        queue: queue.to_owned(),
        payload: Payload::Json(Bytes::from_static(json.as_bytes())),
        idempotency_key: None,
        wait: None,
        options: Options::default(),
    };
    place.dispatcher.submit(submit).await.map(|submitted| submitted.task)
}

/// Both messages have their only field under the same number, so the bytes fit both.
const BYTES: &[u8] = b"\x0a\x01x";

#[tokio::test(flavor = "multi_thread")]
async fn each_queue_takes_and_shows_the_messages_of_its_own_service() {
    let place = place().await;
    let names = &place.dispatcher.broker().names;
    let hash = SchemaHash::of(&descriptors()).as_str().to_owned();
    // Who asks first must not decide for the other: so either is asked first once.
    for (queue, own, alien) in [
        ("beta", "{\"beta\":\"x\"}", "{\"alpha\":\"x\"}"),
        ("alpha", "{\"alpha\":\"x\"}", "{\"beta\":\"x\"}"),
        ("beta", "{\"beta\":\"x\"}", "{\"alpha\":\"x\"}"),
    ] {
        let refused = submit(&place, queue, alien).await.expect_err("another queue's message");
        assert_eq!(refused.code.status(), 422, "{refused:?}");
        let id: TaskId = submit(&place, queue, own).await.expect("its own message").id.parse().expect("an id");
        let ended = |state: State| Record {
            id: id.to_string(),
            state: state.into(),
            run: 1,
            schema: hash.clone(),
            output: BYTES.into(),
            ..Record::default()
        };
        store(&place, Publish::new(names.result(&id), ended(State::Completed).encode_to_vec().into())).await;
        let output = place.dispatcher.get(&id).await.expect("known").output.expect("an output");
        assert_eq!(output.get(), own, "its output has the same field");
        let envelope = Envelope { schema: hash.clone(), payload: BYTES.into(), ..Envelope::default() };
        let letter =
            DeadLetter { result: Some(ended(State::Failed)), envelope: Some(envelope), ..DeadLetter::default() };
        store(&place, Publish::new(names.dead(&id), letter.encode_to_vec().into())).await;
        let payload = place.dispatcher.dead_letter(&id).await.expect("a letter").payload.expect("a payload");
        assert_eq!(payload.get(), own);
    }
}

/// A copy names its schema by the hash alone, so a worker could not see that a payload is another service's.
#[tokio::test(flavor = "multi_thread")]
async fn another_service_of_the_file_cannot_take_a_queue_over() {
    let place = place().await;
    let broker = place.dispatcher.broker();
    let queue: QueueName = "alpha".parse().expect("a name");
    kinds::join(broker, &queue, "t.v1.Alpha", &descriptors()).await.expect("it is the same");
    for refused in [
        kinds::join(broker, &queue, "t.v1.Beta", &descriptors()).await,
        kinds::register(broker, &queue, "t.v1.Beta", &descriptors()).await,
    ] {
        let refused = refused.expect_err("another service").to_string();
        assert!(refused.contains("t.v1.Alpha") && refused.contains("t.v1.Beta"), "{refused}");
    }
    let record = kinds::record(broker, &queue).await.expect("an answer").expect("it is registered");
    assert_eq!(record.service, "t.v1.Alpha");
}
