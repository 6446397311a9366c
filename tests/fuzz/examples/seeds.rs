//! Writes the seeds that are not text: `cargo run --manifest-path tests/fuzz/Cargo.toml --example seeds`. To be run again
//! when the messages have changed.

use std::fs;
use std::path::Path;

use prost::Message;
use workfleet_proto::Task as _;
use workfleet_proto::id::TaskId;
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_proto::kinds::webhook::WebhookRequest;
use workfleet_proto::v1::{
    Attempt, Backoff, Blob, DeadLetter, Envelope, Event, Failure, KeyRecord, Progress, Result, State,
};

const ID: &str = "mail_01h455vb4pex5vsknk084sn02q";
const AT_MS: i64 = 1_700_000_000_000;

fn main() {
    deliveries();
    records();
    let thumbnail = ThumbnailRequest { image: "hi".into(), width_px: 64, ..Default::default() };
    write("transcode", "thumbnail.protobuf", &[b"\x01\x01", thumbnail.encode_to_vec().as_slice()].concat());
    for (name, payload) in
        [("data", r#"{"url":"https://example.org","type":"a.b","data":{"a":[1,null,"x"]}}"#), ("empty", "{}")]
    {
        let length = u16::try_from(payload.len()).expect("a short one").to_be_bytes();
        write("kind", name, &[&length, payload.as_bytes(), WebhookRequest::DESCRIPTORS].concat());
    }
}

fn deliveries() {
    let plain = "Wf-Run: 1\nWf-Attempt: 1\nWf-Schema: 0123456789abcdef\nWf-Due-Ms: 1700000000000";
    let late = "Wf-Run: 2\nWf-Attempt: 3\nWf-Back: 1\nWf-Result-Seq: 77\nWf-Check: 1\nWf-Trace: link\nWf-Due-Ms: 5\n\
                Nats-Stream-Source: DELAY_mail:1\ntraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let claim =
        Blob { name: format!("in.{}.00000000000000000000000007", &ID[5..]), bytes: 5, sha256: vec![7; 32].into() };
    let large = Envelope { payload: Vec::new().into(), blob: Some(claim), ..envelope() };
    let foreign = Envelope { id: "mail_01h455vb4pex5vsknk084sn02r".to_owned(), ..envelope() };
    delivery("plain", plain, 1, &envelope().encode_to_vec());
    delivery("late", late, 2, &envelope().encode_to_vec());
    delivery("large", plain, 1, &large.encode_to_vec());
    delivery("foreign", plain, 1, &foreign.encode_to_vec());
    delivery("garbled", "Wf-Run: x", 9, b"\xff\xff");
}

fn delivery(name: &str, headers: &str, deliveries: u64, body: &[u8]) {
    let head = format!(
        "wf.task.mail.q.m.{ID}\n$JS.ACK.TASKS_mail.WORK_m.{deliveries}.7.9.1700000000000000000.0\n{headers}\n\n"
    );
    write("delivery", name, &[head.as_bytes(), body].concat());
}

fn records() {
    let failure = Failure { code: "error".to_owned(), message: "no route".to_owned() };
    let envelope = envelope();
    let completed = Result {
        id: ID.to_owned(),
        state: State::Completed.into(),
        run: 1,
        attempt: 2,
        attempts_max: 5,
        submitted_at_ms: AT_MS,
        started_at_ms: Some(AT_MS),
        ended_at_ms: AT_MS + 5,
        output: b"\x08\xc8\x01".as_slice().into(),
        schema: "0123456789abcdef".to_owned(),
        attempts: envelope.attempts.clone(),
        labels: envelope.labels.clone(),
        lane: "m".to_owned(),
        ..Result::default()
    };
    let failed = Result { state: State::Failed.into(), failure: Some(failure.clone()), ..completed.clone() };
    let letter = DeadLetter {
        result: Some(failed.clone()),
        envelope: Some(envelope.clone()),
        dead_at_ms: AT_MS,
        reason: "error in attempt 2 of 5".to_owned(),
    };
    let running = Event {
        id: ID.to_owned(),
        state: State::Running.into(),
        run: 1,
        attempt: 2,
        sequence: 3,
        at_ms: AT_MS,
        started_at_ms: AT_MS,
        progress: Some(Progress { percent: 40, message: "half".to_owned() }),
        ..Event::default()
    };
    let retrying = Event {
        state: State::Retrying.into(),
        failure: Some(failure),
        next_attempt_at_ms: Some(AT_MS + 900),
        ..running.clone()
    };
    let key = KeyRecord { payload_sha256: vec![7; 32].into(), submitted_at_ms: AT_MS, ..KeyRecord::default() };
    write("records", "completed", &completed.encode_to_vec());
    write("records", "failed", &failed.encode_to_vec());
    write("records", "letter", &letter.encode_to_vec());
    write("records", "envelope", &envelope.encode_to_vec());
    write("records", "running", &running.encode_to_vec());
    write("records", "retrying", &retrying.encode_to_vec());
    write("records", "key", &key.encode_to_vec());
}

fn envelope() -> Envelope {
    let id: TaskId = ID.parse().expect("an id");
    let attempt = Attempt {
        attempt: 1,
        started_at_ms: AT_MS,
        ended_at_ms: AT_MS + 1,
        worker: "w".to_owned(),
        code: "error".to_owned(),
        message: "no route".to_owned(),
    };
    Envelope {
        id: ID.to_owned(),
        payload: b"\x0a\x02hi".as_slice().into(),
        schema: "0123456789abcdef".to_owned(),
        submitted_at_ms: AT_MS,
        attempts_max: 5,
        backoff: Some(Backoff { base_ms: 1_000, max_ms: 300_000 }),
        timeout_ms: 60_000,
        labels: [("order".to_owned(), "17".to_owned())].into(),
        attempts: vec![attempt],
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        children: vec![TaskId::keyed(&id.queue(), "a", None).to_string()],
        ..Envelope::default()
    }
}

fn write(target: &str, name: &str, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(name), bytes).expect("a seed");
}
