use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::StreamExt as _;
use prost::Message as _;
use serde_json::{Value, json};
use workfleet_proto::v1::{FleetCancelReply, WatchRequest, WorkerRecord};
use workfleet_tests::{Fleet, FleetBuilder, Keys, MailSink, Nats, Probe, Reaction, Receiver, Thief, eventually};

/// One pixel.
const GIF: &[u8] = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x01D\x00;";

fn fleet() -> FleetBuilder {
    Fleet::builder().with_keys()
}

/// Nobody in the fleet has asked for what it may not have: neither now nor at the end of its life.
fn nothing_was_refused(fleet: &mut Fleet) {
    let violations = fleet.nats.violations();
    assert!(violations.is_empty(), "{violations:#?}");
    let logs = fleet.workers.iter_mut().map(|worker| worker.process().log()).collect::<String>();
    let logs = logs + &fleet.dispatcher().log();
    assert!(!logs.contains("ermissions Violation") && !logs.contains("the broker refuses"), "{logs}");
}

#[tokio::test]
async fn tasks_of_every_fate_come_to_their_end_with_keys() {
    let mut fleet = fleet().probe(|queue| queue.lanes(&["h", "m"])).workers("probe", 2).start().await;
    let wait = fleet.http.post("/v1/queues/probe/tasks").header("prefer", "wait=20");
    let waited = wait.json(&Probe::echo("now").json()).send().await.expect(200).json();
    assert_eq!((&waited["state"], &waited["output"]["echo"]), (&json!("completed"), &json!("now")));

    let delayed = fleet.submit_with("?delay=1s&priority=h&label=a:b", &Probe::echo("later")).await;
    let retried = fleet.submit(&Probe::echo("again").fails(2)).await;
    let failed = fleet.submit(&Probe::echo("never").fails_with("told")).await;
    assert_eq!(fleet.completed(&delayed).await["labels"], json!({"a": "b"}));
    assert_eq!(fleet.completed(&retried).await["attempt"], 3);
    assert_eq!(fleet.failed(&failed).await["failure"]["code"], "told");
    eventually("the dead letter is stored", async || fleet.dead_letter(&failed).await).await;

    let keyed = |text: &str| {
        let post = fleet.http.post("/v1/queues/probe/tasks").header("idempotency-key", "once");
        post.json(&Probe::echo(text).json())
    };
    let first = keyed("keyed").send().await.expect(202).json();
    fleet.completed(first["id"].as_str().expect("an id")).await;
    assert_eq!(keyed("keyed").send().await.expect(200).json()["id"], first["id"]);
    keyed("other").send().await.expect_problem(409, "conflict");

    let called = fleet.call("", &Probe::echo("asked")).await.expect(200).json();
    assert_eq!(called["output"]["echo"], "asked", "{called}");
    nothing_was_refused(&mut fleet);
}

#[tokio::test]
async fn whoever_looks_on_sees_everything_with_keys() {
    let mut fleet = fleet().start().await;
    let id = fleet.submit(&Probe::echo("seen").sleeps_ms(1_500).progress_steps(3)).await;
    let events = fleet.events(&id, None).await;
    let mut watched = fleet.grpc().await.watch(WatchRequest { id: id.clone(), ..Default::default() }).await;
    let running = fleet.in_state(&id, "running").await;
    let page = |path: &str| fleet.http.get(path).send();
    let listed = page("/v1/queues/probe/tasks?state=running").await.expect(200).json();
    assert_eq!((&listed["tasks"][0]["id"], &running["attempt"]), (&json!(id), &json!(1)), "{listed:#}");
    let scale = page("/v1/scale/probe").await.expect(200).json();
    assert_eq!((&scale["value"], &scale["running"]), (&json!(1), &json!(1)));
    let queues = page("/v1/queues").await.expect(200).json();
    assert_eq!(queues["queues"][0]["workers"].as_array().map(Vec::len), Some(1), "{queues:#}");
    assert_eq!(queues["queues"][0]["kind"]["input"], "workfleet.kinds.probe.v1.ProbeRequest");

    let events = events.rest().await;
    assert!(events.iter().any(|event| event.kind == "progress") && events.len() > 2, "{events:#?}");
    let mut last = None;
    while let Some(task) = watched.as_mut().expect("a stream").get_mut().message().await.expect("a task") {
        last = Some(task.state());
    }
    assert_eq!(last, Some(workfleet_proto::v1::State::Completed));
    let ended = page("/v1/queues/probe/tasks?state=completed").await.expect(200).json();
    assert_eq!(ended["tasks"][0]["id"], json!(id));
    page("/metrics").await.expect(200);
    page("/openapi.json").await.expect(200);
    nothing_was_refused(&mut fleet);
}

#[tokio::test]
async fn a_fleet_with_a_prefix_works_with_keys() {
    let mut fleet = fleet().variable("WORKFLEET_PREFIX", "blue").start().await;
    let id = fleet.submit(&Probe::echo("blue").fails(1).padding(300_000)).await;
    assert_eq!(fleet.completed(&id).await["attempt"], 2);
    fleet.jetstream().await.get_stream("BLUE_TASKS_probe").await.expect("it is there");
    nothing_was_refused(&mut fleet);
}

#[tokio::test]
async fn every_shipped_worker_works_with_its_key() {
    let mut sink = MailSink::start(&[]).await;
    let receiver = Receiver::start([Reaction::Status(200)]).await;
    let builder = fleet().queue("thumbnail", |queue| queue.children(&["webhook"])).queue("webhook", |queue| queue);
    let builder = builder.queue("email", |queue| queue).workers("probe", 0);
    let builder = builder.workers("thumbnail", 1).workers("webhook", 1).workers("email", 1);
    let variables = sink.variables().into_iter().chain([("WORKFLEET_WEBHOOK_ALLOW_PRIVATE", "true".to_owned())]);
    let builder = variables.fold(builder, |builder, (name, value)| builder.variable(name, &value));
    let mut fleet = builder.start().await;

    let image =
        json!({"image": STANDARD.encode(GIF), "width_px": 8, "height_px": 8, "notify": {"url": receiver.url()}});
    let thumbnail = fleet.http.post("/v1/queues/thumbnail/tasks").json(&image).send().await.expect(202).json();
    let thumbnail = fleet.completed(thumbnail["id"].as_str().expect("an id")).await;
    let webhook = thumbnail["children"][0].as_str().expect("a child").to_owned();
    assert_eq!(fleet.completed(&webhook).await["parent_id"], thumbnail["id"]);
    assert_eq!(receiver.calls()[0].json()["data"]["task_id"], thumbnail["id"]);

    let mail = json!({"to": ["ada@example.net"], "subject": "Hello", "text": "Hello, Ada\n"});
    let mail = fleet.http.post("/v1/queues/email/tasks").json(&mail).send().await.expect(202).json();
    fleet.completed(mail["id"].as_str().expect("an id")).await;
    assert_eq!(sink.taken(1).await.len(), 1);
    nothing_was_refused(&mut fleet);
}

#[tokio::test]
async fn tasks_are_cancelled_and_expire_with_keys_and_every_worker_may_confirm() {
    let mut fleet = fleet().workers("probe", 0).start().await;
    let keys = fleet.nats.keys().expect("a fleet with keys").clone();
    let id = fleet.submit(&Probe::echo("unwanted")).await;
    let mut workers = Vec::new();
    // Two of them: the server lets one answer through by itself, and the second only because it was told to.
    for worker in ["w-1", "w-2"] {
        let client = keys.connect(&fleet.nats.url(), "worker-probe").await.expect("connected");
        let record = WorkerRecord { id: worker.to_owned(), queue: "probe".to_owned(), ..WorkerRecord::default() };
        let subject = format!("$KV.WORKERS.probe.{worker}");
        client.request(subject, record.encode_to_vec().into()).await.expect("it is registered");
        let mut told = client.subscribe("wf.cancel.probe").await.expect("subscribed");
        client.flush().await.expect("sent");
        workers.push(tokio::spawn(async move {
            while let Some(message) = told.next().await {
                let answer = FleetCancelReply { worker: worker.to_owned(), held: Vec::new() };
                if let Some(reply) = message.reply {
                    client.publish(reply, answer.encode_to_vec().into()).await.expect("it may answer");
                }
            }
        }));
    }
    let cancelled = fleet.http.delete(&format!("/v1/tasks/{id}")).send().await.expect(200).json();
    assert_eq!(cancelled["workers_unanswered"], 0, "{cancelled:#}");
    let late = fleet.submit_with("?deadline=1s&delay=500ms", &Probe::echo("late")).await;
    assert_eq!(fleet.ended(&late).await["state"], "expired");
    workers.iter().for_each(tokio::task::JoinHandle::abort);
    nothing_was_refused(&mut fleet);
}

#[tokio::test]
async fn blobs_are_stored_read_discarded_and_swept_with_keys() {
    let mut fleet = fleet().start().await;
    let task = async |probe: &Probe| -> Value {
        let id = fleet.submit(probe).await;
        fleet.completed(&id).await
    };
    task(&Probe::echo("large in").padding(600_000)).await;
    let large = task(&Probe::echo("large out").output_bytes(700_000)).await;
    let result = format!("/v1/tasks/{}/result", large["id"].as_str().expect("an id"));
    assert!(fleet.http.get(&result).send().await.expect(200).body.len() > 700_000);
    let jetstream = fleet.jetstream().await;
    let inputs = async || workfleet_tests::stores::read(&jetstream, "IN_probe").await;
    eventually("the worker has discarded the payload", async || inputs().await.blobs.is_empty().then_some(())).await;

    let put = |name: &str| {
        fleet.http.put(&format!("/v1/blobs/probe_{name}")).bytes("application/octet-stream", vec![5; 300_000])
    };
    put("a").send().await.expect(201);
    put("b").send().await.expect(201);
    assert_eq!(fleet.http.get("/v1/blobs/probe_a").send().await.expect(200).body.len(), 300_000);
    fleet.http.delete("/v1/blobs/probe_a").send().await.expect(204);
    let swept = fleet.command(&["blob", "sweep", "--older-than", "0s", "--json"]).await;
    assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stderr));
    let purged = fleet.command(&["queue", "purge", "probe", "--results", "--dead", "--yes"]).await;
    assert!(purged.status.success(), "{}", String::from_utf8_lossy(&purged.stderr));
    assert!(workfleet_tests::stores::read(&jetstream, "OUT_probe").await.blobs.is_empty());
    nothing_was_refused(&mut fleet);
}

#[tokio::test]
async fn crashes_drains_and_restarts_are_survived_with_keys() {
    let builder = fleet().probe(|queue| queue.lease("1s")).variable("WORKFLEET_DRAIN_TIMEOUT", "500ms");
    let mut fleet = builder.workers("probe", 2).start().await;
    let survivor = fleet.submit(&Probe::echo("survivor").sleeps_ms(1_500)).await;
    let run = fleet.started(&survivor).await;
    fleet.worker_of(&run).kill();
    assert_eq!(fleet.completed(&survivor).await["attempt"], 2);

    let moved = fleet.submit_with("?attempts_max=1", &Probe::echo("moved").sleeps_ms(2_000)).await;
    let run = fleet.started(&moved).await;
    fleet.worker_of(&run).drain().await;
    fleet.add_worker("probe").await;
    assert_eq!(fleet.completed(&moved).await["attempt"], 1, "it was handed back");

    fleet.nats.kill();
    fleet.nats.restart().await;
    let jetstream = fleet.jetstream().await;
    let events = async || jetstream.get_stream("EVENTS_probe").await.ok().map(drop);
    eventually("the dispatcher has made the stream of events again", events).await;
    let after = fleet.submit(&Probe::echo("after").sleeps_ms(300)).await;
    fleet.in_state(&after, "running").await;
    fleet.completed(&after).await;
    nothing_was_refused(&mut fleet);
}

#[tokio::test]
async fn queues_are_made_and_retired_with_the_key_of_provision() {
    let mut fleet = fleet().queue("webhook", |queue| queue).workers("probe", 0).start().await;
    let queues = fleet.folder().join("queues.toml").display().to_string();
    for arguments in [["provision", "--queues", &queues], ["queue", "retire", "webhook"]] {
        let arguments =
            if arguments[0] == "queue" { [&arguments[..], &["--yes"]].concat() } else { arguments.to_vec() };
        let output = fleet.command(&arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(fleet.jetstream().await.get_stream("TASKS_webhook").await.is_err());
    nothing_was_refused(&mut fleet);
}

#[tokio::test]
async fn a_key_is_changed_while_the_fleet_works() {
    let mut fleet = fleet().start().await;
    let keys = fleet.nats.keys().expect("a fleet with keys").clone();
    let (url, old) = (fleet.nats.url(), keys.seed("worker-probe"));
    let enters = async |seed: &str| Thief::connect(&url, "worker-probe", seed.to_owned()).await.is_ok();

    assert!(keys.command(&["--rotate", "worker-probe"]).await.contains("--finish worker-probe"));
    let new = keys.seed("worker-probe");
    assert!(enters(&old).await && !enters(&new).await, "the server has not been told yet");
    fleet.nats.process().reload();
    eventually("the server knows the new key", async || enters(&new).await.then_some(())).await;
    assert!(enters(&old).await, "workers have it still");
    let id = fleet.submit(&Probe::echo("meanwhile")).await;
    assert_eq!(fleet.completed(&id).await["attempt"], 1);

    fleet.workers[0].replace();
    fleet.workers[0].ready().await;
    keys.command(&["--finish", "worker-probe"]).await;
    fleet.nats.process().reload();
    eventually("the old key is good no more", async || (!enters(&old).await).then_some(())).await;
    let id = fleet.submit(&Probe::echo("afterwards")).await;
    assert_eq!(fleet.completed(&id).await["attempt"], 1);
    assert!(!fleet.workers[0].process().log().contains("the connection to the broker is lost"));
    nothing_was_refused(&mut fleet);
}

#[tokio::test]
async fn without_a_key_nobody_comes_in() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let queues = folder.path().join("queues.toml");
    std::fs::write(&queues, "[queue.mail]\n").expect("written");
    let nats = Nats::start_with(folder.path(), Some(Keys::write(&queues).await)).await;
    assert!(async_nats::connect(nats.url()).await.is_err());
    let sys = nats.keys().expect("keys").connect(&nats.url(), "sys").await.expect("an operator comes in");
    let servers = sys.request("$SYS.REQ.SERVER.PING", "".into()).await.expect("it sees the servers");
    assert!(String::from_utf8_lossy(&servers.payload).contains("server_name") || !servers.payload.is_empty());
}
