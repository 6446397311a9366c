//! Jaeger and the collector with the configurations that the manifests ship. They run where `make jaeger` has built one.

use std::path::Path;

use tempfile::TempDir;
use workfleet_tests::jaeger::{self, Role, Shipped};
use workfleet_tests::{Fleet, Probe, eventually, get};

use crate::metrics::asked;

const MEMORY: [&str; 2] = ["jaeger/config/jaeger.yaml", "jaeger/config/memory.yaml"];
const BADGER: [&str; 2] = ["jaeger/config/jaeger.yaml", "jaeger-badger/config/badger.yaml"];
const COLLECTOR: &str = "otel-collector/config/collector.yaml";
const TAIL_SAMPLING: &str = "otel-collector/config/tail-sampling.yaml";

#[allow(clippy::print_stderr, reason = "a test that did not run must say so")]
fn skipped() {
    eprintln!("SKIPPED: there is no .tools/bin/jaeger; `make jaeger` builds one");
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

async fn trace_of(fleet: &Fleet, id: &str) -> String {
    fleet.ended(id).await["trace_id"].as_str().expect("a trace id").to_owned()
}

/// Waits until Jaeger has the task's request, publish and attempt.
async fn whole(jaeger: &Shipped, trace: &str) -> usize {
    eventually("Jaeger has the whole trace", async || {
        let spans = jaeger::spans(&jaeger.query_url(), trace).await;
        let has = |name: &str| spans.iter().any(|span| span["name"] == name);
        let whole = has("POST /v1/queues/{queue}/tasks") && has("publish probe") && has("process probe") && has("work");
        whole.then_some(spans.len())
    })
    .await
}

#[tokio::test]
async fn traces_wait_in_the_collector_for_jaeger_and_survive_its_restarts() {
    let folder = TempDir::new().expect("a folder");
    let badger = [("JAEGER_BADGER_DIR", &*text(&folder.path().join("badger")))];
    let Some(mut jaeger) = Shipped::start(Role::Jaeger, &BADGER, &badger, folder.path()).await else {
        return skipped();
    };
    let to_jaeger = [("COLLECTOR_JAEGER", &*jaeger.otlp())];
    let collector = Shipped::start(Role::Collector, &[COLLECTOR], &to_jaeger, folder.path()).await.expect("a Jaeger");
    jaeger.process().terminate();
    assert!(jaeger.process().left().await.success());

    let fleet = Fleet::builder().traces_to(&format!("http://{}", collector.otlp())).start().await;
    let trace = trace_of(&fleet, &fleet.submit(&Probe::echo("kept")).await).await;
    eventually("the collector has taken the spans", async || {
        let metrics = collector.metrics().await;
        metrics.lines().find(|line| line.starts_with("otelcol_receiver_accepted_spans_total{")).map(|_| ())
    })
    .await;
    jaeger.start_again().await;
    let spans = whole(&jaeger, &trace).await;

    jaeger.process().terminate();
    jaeger.process().left().await;
    jaeger.start_again().await;
    assert_eq!(jaeger::spans(&jaeger.query_url(), &trace).await.len(), spans, "after it was stopped");
    let trace = trace_of(&fleet, &fleet.submit(&Probe::echo("kept too")).await).await;
    let spans = whole(&jaeger, &trace).await;
    // SIGKILL.
    jaeger.start_again().await;
    assert_eq!(jaeger::spans(&jaeger.query_url(), &trace).await.len(), spans, "after it was killed");
}

#[tokio::test]
async fn with_tls_switched_on_spans_travel_over_tls_alone() {
    let folder = TempDir::new().expect("a folder");
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, directory) = (folder.path().join("tls.crt"), text(folder.path()));
    std::fs::write(&certificate, key.cert.pem()).expect("a file");
    std::fs::write(folder.path().join("tls.key"), key.signing_key.serialize_pem()).expect("a file");

    let files = [MEMORY[0], MEMORY[1], "jaeger/config/tls.yaml"];
    let variables = [("JAEGER_TLS_DIR", &*directory)];
    let Some(jaeger) = Shipped::start(Role::Jaeger, &files, &variables, folder.path()).await else {
        return skipped();
    };
    let variables = [
        ("COLLECTOR_JAEGER", &*jaeger.otlp()),
        ("COLLECTOR_TLS_DIR", &*directory),
        ("COLLECTOR_CA_FILE", &*text(&certificate)),
    ];
    let files = [COLLECTOR, "otel-collector/config/tls.yaml"];
    let collector = Shipped::start(Role::Collector, &files, &variables, folder.path()).await.expect("a Jaeger");
    let builder = Fleet::builder().variable("OTEL_EXPORTER_OTLP_CERTIFICATE", &text(&certificate));
    let fleet = builder.traces_to(&format!("https://{}", collector.otlp())).start().await;
    let trace = trace_of(&fleet, &fleet.submit(&Probe::echo("secret")).await).await;
    whole(&jaeger, &trace).await;
    let plain = get(format!("http://{}", jaeger.otlp())).await;
    assert!(plain.is_err() || plain.is_ok_and(|answer| !answer.status().is_success()), "plain text is no way in");
}

#[tokio::test]
async fn tail_sampling_keeps_what_failed_and_drops_what_went_well() {
    let folder = TempDir::new().expect("a folder");
    let Some(jaeger) = Shipped::start(Role::Jaeger, &MEMORY, &[], folder.path()).await else { return skipped() };
    let variables = [
        ("COLLECTOR_JAEGER", &*jaeger.otlp()),
        ("COLLECTOR_DECISION_WAIT", "4s"),
        ("COLLECTOR_SAMPLED_PERCENTAGE", "0"),
    ];
    let collector = Shipped::start(Role::Collector, &[COLLECTOR, TAIL_SAMPLING], &variables, folder.path()).await;
    let collector = collector.expect("a Jaeger");
    let fleet = Fleet::builder().traces_to(&format!("http://{}", collector.otlp())).start().await;
    let well = trace_of(&fleet, &fleet.submit(&Probe::echo("well")).await).await;
    let failed = trace_of(&fleet, &fleet.submit(&Probe::echo("failed").fails_with("bad_image")).await).await;
    whole(&jaeger, &failed).await;
    let dropped = jaeger::spans(&jaeger.query_url(), &well).await;
    assert!(dropped.is_empty(), "it came first, so it was decided first: {dropped:#?}");
}

/// What alerts and dashboard ask of Jaeger and the collector, whose names may change with their versions.
#[tokio::test]
async fn lost_spans_are_counted_under_the_names_that_alerts_ask_for() {
    let folder = TempDir::new().expect("a folder");
    // Nobody is there.
    let variables =
        [("COLLECTOR_JAEGER", "127.0.0.1:1"), ("COLLECTOR_RETRY_TIME_MAX", "5s"), ("COLLECTOR_QUEUE_SPANS_MAX", "100")];
    let Some(collector) = Shipped::start(Role::Collector, &[COLLECTOR], &variables, folder.path()).await else {
        return skipped();
    };
    let fleet = Fleet::builder().traces_to(&format!("http://{}", collector.otlp())).start().await;
    let selectors = asked::alerts().into_iter().chain(asked::dashboard()).flat_map(|question| question.selectors);
    let asked: Vec<String> = selectors
        .map(|selector| selector.metric)
        .filter(|metric| metric.starts_with(crate::metrics::OF_OTHERS))
        .collect();
    assert!(asked.len() >= 4, "{asked:?}");
    fleet.submit(&Probe::echo("a small batch")).await;
    let counted = async |metric: &str| collector.metrics().await.contains(&format!("\n{metric}{{"));
    eventually("a batch was given up", async || {
        counted("otelcol_exporter_send_failed_spans_total").await.then_some(())
    })
    .await;
    for metric in &asked {
        eventually(&format!("{metric} is counted"), async || {
            for _ in 0..10 {
                fleet.submit(&Probe::echo("a batch that finds no room")).await;
            }
            counted(metric).await.then_some(())
        })
        .await;
    }
}
