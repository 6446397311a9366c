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
    let spans = jaeger.trace(&task.trace, |spans| named(spans, "process probe").len() == 3).await;
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
    ensure!((published.len(), processed.len()) == (1, 1), "the child's spans: {published:?} {processed:?}");
    ensure!(processed[0]["parentSpanId"] == published[0]["spanId"], "the child's run is not below its publish span");
    let above = of("process probe", &task.id).into_iter().any(|run| {
        let parent = &published[0]["parentSpanId"];
        run["spanId"] == *parent || spans.iter().any(|span| span["spanId"] == *parent)
    });
    ensure!(above, "the child's publish span is not below its parent's run");
    let one = spans.iter().all(|span| span["traceId"] == spans[0]["traceId"]);
    ensure!(one, "more than one trace");
    say(&format!("trace {} as the cluster's Jaeger tells it:\n{}", task.trace, tree(&spans)));
    Ok(vec![Row::passed(
        "f",
        "a task retried once, with a child, read back from the cluster's Jaeger",
        "1 trace, attempts 1 and 2, the child's publish and process",
        format!("1 trace of {} spans, attempts {}, the child's 1 + 1", spans.len(), attempts.join(" and ")),
    )])
}

fn named(spans: &[Value], name: &str) -> Vec<Value> {
    spans.iter().filter(|span| span["name"] == name).cloned().collect()
}
