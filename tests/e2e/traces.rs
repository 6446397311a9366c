use tempfile::TempDir;
use workfleet_tests::jaeger::{Jaeger, attribute};
use workfleet_tests::{Fleet, Probe, Span, Traces, eventually};

const REQUEST: &str = "POST /v1/queues/{queue}/tasks";

fn outcomes(spans: &[Span]) -> Vec<(&str, &str)> {
    let mut seen: Vec<(&str, &str)> = spans
        .iter()
        .map(|span| (span.attribute("workfleet.task.attempt"), span.attribute("workfleet.task.final")))
        .collect();
    seen.sort_unstable();
    seen
}

async fn trace_of(fleet: &Fleet, id: &str) -> String {
    fleet.completed(id).await["trace_id"].as_str().expect("a trace id").to_owned()
}

#[tokio::test]
async fn a_task_is_one_trace_through_every_process() {
    let traces = Traces::start().await;
    // RUST_LOG must not be able to cut a trace.
    let fleet = Fleet::builder().traces_to(traces.endpoint()).variable("RUST_LOG", "off").start().await;
    let id = fleet.submit(&Probe::echo("seen")).await;
    let trace = trace_of(&fleet, &id).await;

    let request = traces.one(&trace, REQUEST).await;
    let publish = traces.one(&trace, "publish probe").await;
    let process = traces.one(&trace, "process probe").await;
    let inside = traces.one(&trace, "work").await;
    assert_eq!(
        (request.kind, request.service.as_str(), request.parent.as_str()),
        ("server", "workfleet-dispatcher", "")
    );
    assert_eq!((publish.kind, publish.service.as_str()), ("producer", "workfleet-dispatcher"));
    assert_eq!((process.kind, process.service.as_str()), ("consumer", "workfleet-probe"));
    assert_eq!((inside.kind, inside.service.as_str()), ("internal", "workfleet-probe"));
    assert_eq!([&publish.parent, &process.parent, &inside.parent], [&request.id, &publish.id, &process.id]);
    assert_eq!(process.links, [(trace.clone(), publish.id.clone())]);
    for span in [&publish, &process] {
        assert_eq!(span.attribute("messaging.system"), "nats");
        assert_eq!(span.attribute("messaging.destination.name"), "probe");
        assert_eq!(span.attribute("workfleet.task.id"), id);
    }
    assert_eq!(process.attribute("workfleet.task.attempt"), "1");
    assert_eq!(process.attribute("workfleet.task.outcome"), "completed");
    assert!(process.attribute("workfleet.task.queue_wait_ms").parse::<u64>().is_ok(), "{process:#?}");
    assert!(!process.error);
}

#[tokio::test]
async fn a_retry_is_a_second_attempt_in_the_same_trace() {
    let traces = Traces::start().await;
    let fleet = Fleet::builder().traces_to(traces.endpoint()).start().await;
    let id = fleet.submit(&Probe::echo("twice").fails(1)).await;
    let trace = trace_of(&fleet, &id).await;
    let publish = traces.one(&trace, "publish probe").await;
    let attempts = traces.named(&trace, "process probe", 2).await;
    assert_eq!(outcomes(&attempts), [("1", "false"), ("2", "true")], "{attempts:#?}");
    assert!(attempts.iter().all(|span| span.parent == publish.id), "siblings: {attempts:#?}");
    let errors: Vec<&str> =
        attempts.iter().filter(|span| span.error).map(|span| span.attribute("workfleet.task.attempt")).collect();
    assert_eq!(errors, ["1"]);
}

#[tokio::test]
async fn a_dead_letter_belongs_to_the_trace() {
    let traces = Traces::start().await;
    let fleet = Fleet::builder().traces_to(traces.endpoint()).start().await;
    let id = fleet.submit(&Probe::echo("lost").fails_with("bad_image")).await;
    let trace = fleet.failed(&id).await["trace_id"].as_str().expect("a trace id").to_owned();
    let process = traces.one(&trace, "process probe").await;
    assert!(process.error);
    assert_eq!(process.attribute("error.type"), "bad_image");
    let dead = traces.one(&trace, "dead_letter probe").await;
    assert_eq!(dead.parent, process.id);
}

#[tokio::test]
async fn a_caller_is_not_trusted_to_choose_the_trace() {
    let traces = Traces::start().await;
    let fleet = Fleet::builder().traces_to(traces.endpoint()).start().await;
    let (theirs, span) = ("2222222222222222aaaaaaaaaaaaaaaa", "1111111111111111");
    let request = fleet.http.post("/v1/queues/probe/tasks").header("traceparent", &format!("00-{theirs}-{span}-01"));
    let answer = request.json(&Probe::echo("x").json()).send().await.expect(202);
    let trace = trace_of(&fleet, answer.json()["id"].as_str().expect("an id")).await;
    assert_ne!(trace, theirs);
    let request = traces.one(&trace, REQUEST).await;
    assert_eq!((request.parent.as_str(), request.links.as_slice()), ("", &[(theirs.to_owned(), span.to_owned())][..]));
    assert!(traces.of(theirs).is_empty());
}

#[tokio::test]
async fn a_caller_that_is_trusted_sees_its_own_trace_go_on() {
    let traces = Traces::start().await;
    let builder = Fleet::builder().traces_to(traces.endpoint()).variable("WORKFLEET_TRUST_TRACEPARENT", "true");
    let fleet = builder.start().await;
    let (theirs, span) = ("2222222222222222aaaaaaaaaaaaaaaa", "1111111111111111");
    let request = fleet.http.post("/v1/queues/probe/tasks").header("traceparent", &format!("00-{theirs}-{span}-01"));
    let answer = request.json(&Probe::echo("x").json()).send().await.expect(202);
    assert_eq!(trace_of(&fleet, answer.json()["id"].as_str().expect("an id")).await, theirs);
    assert_eq!(traces.one(theirs, REQUEST).await.parent, span);
    traces.one(theirs, "process probe").await;
}

#[tokio::test]
async fn a_direct_call_is_one_trace_too() {
    let traces = Traces::start().await;
    let fleet = Fleet::builder().traces_to(traces.endpoint()).start().await;
    fleet.call("", &Probe::echo("asked")).await.expect(200);
    let request = "POST /v1/queues/{queue}/calls";
    let root =
        eventually("the request's span comes", async || traces.all().into_iter().find(|span| span.name == request))
            .await;
    let work = traces.one(&root.trace, "work").await;
    assert_eq!((root.kind, work.service.as_str()), ("server", "workfleet-probe"));
    let spans = eventually("the trace is whole", async || {
        let spans = traces.of(&root.trace);
        let known = |id: &str| spans.iter().any(|span| span.id == id);
        spans.iter().all(|span| span.parent.is_empty() || known(&span.parent)).then(|| spans.clone())
    })
    .await;
    assert!(spans.iter().any(|span| span.kind == "client" && span.service == "workfleet-dispatcher"), "{spans:#?}");
}

/// Read back from Jaeger's own API, as an operator would see it. Runs where `make jaeger` has built one.
#[tokio::test]
#[allow(clippy::print_stderr, reason = "a test that did not run must say so")]
async fn jaeger_shows_a_retried_task_as_one_trace() {
    let folder = TempDir::new().expect("a folder");
    let Some(jaeger) = Jaeger::start(folder.path()).await else {
        eprintln!("SKIPPED: there is no .tools/bin/jaeger; `make jaeger` builds one");
        return;
    };
    let fleet = Fleet::builder().traces_to(&jaeger.endpoint()).start().await;
    let id = fleet.submit(&Probe::echo("twice").fails(1)).await;
    let trace = trace_of(&fleet, &id).await;
    let spans = eventually("Jaeger has the whole trace", async || {
        let spans = jaeger.spans(&trace).await;
        let count = |name: &str| spans.iter().filter(|span| span["name"] == name).count();
        let whole = [count(REQUEST), count("publish probe"), count("process probe"), count("work")] == [1, 1, 2, 2];
        whole.then_some(spans)
    })
    .await;
    let one = |name: &str| spans.iter().find(|span| span["name"] == name).expect("it was counted");
    let publish = one("publish probe");
    assert_eq!(publish["parentSpanId"], one(REQUEST)["spanId"]);
    let attempts: Vec<_> = spans.iter().filter(|span| span["name"] == "process probe").collect();
    assert!(attempts.iter().all(|span| span["parentSpanId"] == publish["spanId"]), "{spans:#?}");
    let mut numbers: Vec<String> = attempts.iter().map(|span| attribute(span, "workfleet.task.attempt")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ["1", "2"]);
    assert!(attempts.iter().all(|span| span["service"] == "workfleet-probe"));
    for span in &spans {
        eprintln!(
            "{} {} parent={} {}",
            span["service"],
            span["name"],
            span["parentSpanId"],
            attribute(span, "workfleet.task.attempt")
        );
    }
}
