//! F: one trace per task.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use workfleet_tests::Probe;
use workfleet_tests::jaeger::attribute;

use crate::cluster::{Cluster, say};
use crate::load::Plan;
use crate::table::Row;
use crate::traces::{Jaeger, tree};

/// f: a task that is retried once and has a child is one trace in the cluster's Jaeger.
pub(crate) async fn run(cluster: &Cluster) -> Result<Vec<Row>> {
    let probe = Probe::echo("parent").fails(1).submits(&Probe::echo("child").named("the child"));
    let report = cluster.load(Plan::probes(1, &probe)).await?.report().await?;
    report.whole(1)?;
    let task = report.ended.first().context("one task has ended")?;
    ensure!(task.attempt == 2, "the task was not retried once: {task:?}");
    let child = task.task["children"][0].as_str().context("the task has a child")?;

    let jaeger = Jaeger::connect().await?;
    let spans = jaeger.trace(&task.trace, is_whole).await;
    jaeger.close().await;
    let spans = spans?;
    let of = |name: &str, id: &str| -> Vec<Value> {
        named(&spans, name).into_iter().filter(|span| attribute(span, "workfleet.task.id") == id).collect()
    };
    let mut attempts: Vec<String> =
        of("process probe", &task.id).iter().map(|span| attribute(span, "workfleet.task.attempt")).collect();
    attempts.sort_unstable();
    ensure!(attempts == ["1", "2"], "the parent's attempts are {attempts:?}");
    let (published, processed) = (of("publish probe", child), of("process probe", child));
    ensure!(processed.len() == 1, "the child was not run once: {processed:#?}");
    // Each attempt of the parent asks for the child; the second one finds it.
    let runs: Vec<Value> = of("process probe", &task.id).iter().map(|run| run["spanId"].clone()).collect();
    ensure!(published.iter().all(|span| is_below(&spans, span, &runs)), "the child is not below its parent's run");
    let publishes: Vec<Value> = published.iter().map(|span| span["spanId"].clone()).collect();
    ensure!(publishes.contains(&processed[0]["parentSpanId"]), "the child's run is not below its publish span");
    let one = spans.iter().all(|span| span["traceId"] == spans[0]["traceId"]);
    ensure!(one, "more than one trace");
    say(&format!("trace {} as the cluster's Jaeger tells it:\n{}", task.trace, tree(&spans)));
    Ok(vec![Row::passed(
        "f",
        "a task retried once, with a child, read back from the cluster's Jaeger",
        "1 trace, attempts 1 and 2, the child's publish and process below",
        format!(
            "1 trace of {} spans, attempts {}, the child asked for {} times and run once",
            spans.len(),
            attempts.join(" and "),
            published.len()
        ),
    )])
}

/// Three runs, and nobody's parent is still on its way.
fn is_whole(spans: &[Value]) -> bool {
    let known = |id: &str| spans.iter().any(|span| span["spanId"] == *id);
    let parents = spans.iter().filter_map(|span| span["parentSpanId"].as_str()).filter(|id| !id.is_empty());
    named(spans, "process probe").len() == 3 && parents.into_iter().all(known)
}

/// Whether one of `above` is the span's parent, or its parent's, and so on.
fn is_below(spans: &[Value], span: &Value, above: &[Value]) -> bool {
    let parent = &span["parentSpanId"];
    above.contains(parent)
        || spans.iter().find(|other| other["spanId"] == *parent).is_some_and(|next| is_below(spans, next, above))
}

fn named(spans: &[Value], name: &str) -> Vec<Value> {
    spans.iter().filter(|span| span["name"] == name).cloned().collect()
}
