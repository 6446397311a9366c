//! Lists of tasks, and what they cost when there are many. `make list-bench` asks for a million of each.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, message::PublishMessage};
use futures::stream::{self, StreamExt as _};
use prost::Message as _;
use serde_json::{Value, json};
use workfleet_proto::id::{QueueName, TaskId};
use workfleet_proto::names::{Lane, Names, header};
use workfleet_proto::v1::{Envelope, ListTasksRequest, Result as Record, State};
use workfleet_tests::{Fleet, Probe, memory};

/// Publishes under way at once.
const UNDERWAY_MAX: usize = 2_000;
const MIB: u64 = 1 << 20;
/// Room for each of the two streams: what is stored of a task is about 300 bytes.
const TASK_BYTES_MAX: u64 = 1_000;

/// The lists that the promise about first pages is made for, at the default limit.
const PROMISED: [&str; 5] = ["", "?state=queued", "?state=running", "?state=scheduled", "?state=completed"];
/// Lists that are measured beside them: what they look for may be rare, or much of it.
const OTHERS: [&str; 4] = ["?state=retrying", "?state=failed", "?state=cancelled", "?state=completed&limit=1000"];

/// How much there is. The full form is the million, and measures; the small one compares.
struct Extent {
    tasks: u64,
    first_page_max: Option<Duration>,
}

impl Extent {
    fn chosen() -> Self {
        match std::env::var("WORKFLEET_LIST_BENCH").as_deref() {
            Ok("full") => Self { tasks: 1_000_000, first_page_max: Some(Duration::from_millis(50)) },
            _ => Self { tasks: 20_000, first_page_max: None },
        }
    }
}

fn id(number: u64) -> TaskId {
    let queue: QueueName = "probe".parse().expect("a name");
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    TaskId::new(&queue, 1_700_000_000_000 + number, random, None)
}

async fn store(jetstream: &jetstream::Context, messages: impl Iterator<Item = (String, PublishMessage)>) {
    let stored = stream::iter(messages).map(|(subject, message)| async move {
        jetstream.send_publish(subject, message).await.expect("sent").await.expect("stored");
    });
    stored.buffer_unordered(UNDERWAY_MAX).collect::<()>().await;
}

/// Tasks that wait, as a dispatcher stores them.
async fn fill_waiting(jetstream: &jetstream::Context, numbers: std::ops::Range<u64>) {
    let names = Names::default();
    let messages = numbers.map(|number| {
        let id = id(number);
        let envelope = Envelope {
            id: id.to_string(),
            payload: vec![7; 64].into(),
            submitted_at_ms: 1_700_000_000_000,
            attempts_max: 3,
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            ..Envelope::default()
        };
        let message = PublishMessage::build().payload(envelope.encode_to_vec().into());
        let message = message.header(header::RUN, "1").header(header::ATTEMPT, "1");
        (names.task(&id, Lane::DEFAULT), message)
    });
    store(jetstream, messages).await;
}

/// Tasks that have ended, one in a thousand of them failed.
async fn fill_ended(jetstream: &jetstream::Context, numbers: std::ops::Range<u64>) {
    let names = Names::default();
    let messages = numbers.map(|number| {
        let id = id(number);
        let state = if number % 1_000 == 0 { State::Failed } else { State::Completed };
        let record = Record {
            id: id.to_string(),
            state: state.into(),
            run: 1,
            attempt: 1,
            attempts_max: 3,
            submitted_at_ms: 1_700_000_000_000,
            started_at_ms: Some(1_700_000_000_500),
            ended_at_ms: 1_700_000_001_000,
            output: vec![7; 64].into(),
            worker: "a-worker".to_owned(),
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
            ..Record::default()
        };
        (names.result(&id), PublishMessage::build().payload(record.encode_to_vec().into()))
    });
    store(jetstream, messages).await;
}

async fn page(fleet: &Fleet, query: &str) -> Value {
    fleet.http.get(&format!("/v1/queues/probe/tasks{query}")).send().await.expect(200).json()
}

fn ids(page: &Value) -> Vec<String> {
    let tasks = page["tasks"].as_array().expect("tasks").iter();
    tasks.map(|task| task["id"].as_str().expect("an id").to_owned()).collect()
}

/// The quickest of some first pages: what else the machine does makes it slower and never quicker.
async fn first_page(fleet: &Fleet, query: &str, tries: usize) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..tries {
        let began = Instant::now();
        page(fleet, query).await;
        best = best.min(began.elapsed());
    }
    best
}

#[tokio::test]
async fn a_list_tells_of_real_tasks_in_every_edge() {
    let fleet = Fleet::builder().probe(|queue| queue.backoff("60s", "60s")).slots(1).start().await;
    let done = fleet.submit(&Probe::echo("done")).await;
    fleet.completed(&done).await;
    let broken = fleet.submit(&Probe::echo("x").fails_with("bad_image")).await;
    fleet.failed(&broken).await;
    let again = fleet.submit(&Probe::echo("x").fails(1)).await;
    fleet.in_state(&again, "retrying").await;
    let later = fleet.submit_with("?delay=1h&label=tier:gold", &Probe::echo("later")).await;
    let running = fleet.submit(&Probe::echo("slow").sleeps_ms(20_000)).await;
    fleet.in_state(&running, "running").await;
    let waiting = fleet.submit_with("?label=tier:gold", &Probe::echo("waits")).await;

    let everything = page(&fleet, "").await;
    assert_eq!(ids(&everything), [&running, &waiting, &again, &later, &broken, &done].map(Clone::clone));
    assert_eq!(everything["next"], json!(null));
    let of = [
        ("running", &running),
        ("queued", &waiting),
        ("retrying", &again),
        ("scheduled", &later),
        ("failed", &broken),
        ("completed", &done),
    ];
    for (state, id) in of {
        let listed = page(&fleet, &format!("?state={state}")).await;
        assert_eq!(ids(&listed), std::slice::from_ref(id), "{state}");
        assert_eq!((&listed["tasks"][0]["state"], &listed["tasks"][0]["output"]), (&json!(state), &json!(null)));
    }
    assert_eq!(page(&fleet, "?state=failed").await["tasks"][0]["failure"]["code"], "bad_image");
    assert_eq!(ids(&page(&fleet, "?label=tier:gold").await), [waiting.clone(), later.clone()]);

    let request = ListTasksRequest { queue: "probe".to_owned(), limit: Some(4), ..ListTasksRequest::default() };
    let mut grpc = fleet.grpc().await;
    let first = grpc.list_tasks(request.clone()).await.expect("a page").into_inner();
    let rest = grpc.list_tasks(ListTasksRequest { cursor: first.next.clone(), ..request }).await.expect("a page");
    let seen: Vec<String> = first.tasks.into_iter().chain(rest.into_inner().tasks).map(|task| task.id).collect();
    assert_eq!(seen, ids(&everything));
    told_by_the_command(&fleet, &everything, &broken).await;
}

async fn told_by_the_command(fleet: &Fleet, everything: &Value, broken: &str) {
    let text = |output: std::process::Output| String::from_utf8(output.stdout).expect("text");
    let lines = text(fleet.command(&["tasks", "probe"]).await);
    let listed: Vec<&str> = lines.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(listed, ids(everything), "{lines}");
    assert!(lines.lines().any(|line| line.contains(broken) && line.contains("bad_image")), "{lines}");
    let document: Value = serde_json::from_str(&text(
        fleet.command(&["tasks", "probe", "--state", "failed", "--limit", "1", "--json"]).await,
    ))
    .expect("JSON");
    assert_eq!(ids(&document), [broken.to_owned()]);
    let lines = text(fleet.command(&["tasks", "probe", "--label", "tier:gold", "--all", "--json"]).await);
    let listed: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a task")).collect();
    assert_eq!(listed.len(), 2);
    let wrong = fleet.command(&["tasks", "probe", "--state", "pending"]).await;
    assert_eq!(wrong.status.code(), Some(5));
    let told = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(told.contains("retrying"), "what there is is named: {told}");
}

#[tokio::test]
async fn what_is_no_list_is_refused_with_a_code() {
    let fleet = Fleet::builder().workers("probe", 0).start().await;
    for (query, field) in [
        ("?state=pending", "state"),
        ("?state=queued&state=queued", "state"),
        ("?limit=0", "limit"),
        ("?limit=1001", "limit"),
        ("?limit=ten", "limit"),
        ("?cursor=garbage", "cursor"),
        ("?label=gold", "label"),
        ("?color=red", "color"),
    ] {
        let answer = fleet.http.get(&format!("/v1/queues/probe/tasks{query}")).send().await;
        let problem = answer.expect_problem(400, "invalid_option");
        assert_eq!(problem["field"], field, "{query}: {problem}");
    }
    let known = fleet.http.get("/v1/queues/probe/tasks?state=pending").send().await.json();
    assert_eq!(known["known"].as_array().map(Vec::len), Some(8), "{known}");
    fleet.http.get("/v1/queues/nowhere/tasks").send().await.expect_problem(404, "unknown_queue");
}

#[tokio::test]
#[allow(clippy::print_stderr, reason = "the numbers are the point")]
async fn a_first_page_costs_the_same_however_many_tasks_there_are() {
    const FEW: u64 = 200;
    let extent = Extent::chosen();
    let mut fleet = Fleet::builder()
        .probe(|queue| queue.tasks_max(3_000_000).bytes_max(extent.tasks * TASK_BYTES_MAX))
        .workers("probe", 0)
        .start()
        .await;
    let jetstream = fleet.jetstream().await;
    fill_waiting(&jetstream, 0..FEW).await;
    fill_ended(&jetstream, extent.tasks..extent.tasks + FEW).await;
    let mut few = Vec::new();
    for query in PROMISED.into_iter().chain(OTHERS) {
        few.push((query, first_page(&fleet, query, 5).await));
    }
    let filling = Instant::now();
    fill_waiting(&jetstream, FEW..extent.tasks).await;
    fill_ended(&jetstream, extent.tasks + FEW..2 * extent.tasks).await;
    eprintln!("{0} tasks wait and {0} have ended, stored in {1:.1?}", extent.tasks, filling.elapsed());
    let pid = fleet.dispatcher().pid();
    let before = memory::resident_bytes(pid);
    memory::forget_peak(pid);
    let mut slow = Vec::new();
    for (query, few) in few {
        let began = Instant::now();
        page(&fleet, query).await;
        let (cold, many) = (began.elapsed(), first_page(&fleet, query, 5).await);
        eprintln!("first page{query:>28}: {many:>8.1?} (the very first {cold:.1?}; with {FEW} tasks {few:.1?})");
        // A bounded number of reads of a bounded size, whatever is found in them.
        let bound = extent.first_page_max.unwrap_or((few * 10).max(Duration::from_millis(200)));
        if PROMISED.contains(&query) && many >= bound {
            slow.push(format!("{query:?}: {many:?}, with {FEW} tasks {few:?}"));
        }
    }
    let (seen, pages) = walk(&fleet).await;
    assert!(seen == 2 * extent.tasks || pages == PAGES_WALKED_MAX, "{seen} tasks on {pages} pages");
    let grown = memory::peak_bytes(pid).saturating_sub(before);
    eprintln!(
        "{seen} tasks on {pages} pages: dispatcher {} MiB before, {} MiB more at its worst",
        before / MIB,
        grown / MIB
    );
    assert!(grown < 48 * MIB, "{} MiB more", grown / MIB);
    // At last, so that everything is printed before it.
    assert!(slow.is_empty(), "slow first pages: {slow:?}");
}

/// Pages of 1,000 tasks that are turned at most: memory that grows with pages shows long before.
const PAGES_WALKED_MAX: usize = 400;

/// Pages through everything, or so many pages; gives how many tasks and pages there were. Each task comes once.
async fn walk(fleet: &Fleet) -> (u64, usize) {
    let (mut cursor, mut seen, mut pages) = (String::new(), 0, 0);
    let mut last = None;
    loop {
        let page = page(fleet, &format!("?limit=1000{cursor}")).await;
        let ids = ids(&page);
        // In an ordered list a repetition would be next to the end of the page before.
        assert!(last.is_none() || ids.first() != last.as_ref(), "{last:?} came twice");
        last = ids.last().cloned().or(last);
        seen += ids.len() as u64;
        pages += 1;
        match page["next"].as_str() {
            Some(next) if pages < PAGES_WALKED_MAX => cursor = format!("&cursor={next}"),
            _ => return (seen, pages),
        }
    }
}
