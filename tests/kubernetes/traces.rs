//! Traces, read back from the Jaeger in the cluster.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use futures::StreamExt as _;
use serde_json::Value;
use workfleet_tests::jaeger::{self, attribute};

use crate::kubectl::{Forwarding, NAMESPACE};
use crate::load::Ended;

/// How long spans may be on their way after the end of their task.
const ARRIVAL_TIME_MAX: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(500);
/// Traces that are asked for at once.
const READS_MAX: usize = 4;

/// Jaeger's query API, through the API server.
pub(crate) struct Jaeger {
    proxy: Forwarding,
    url: String,
}

/// How often handlers were run, over all tasks of a load.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Executions {
    /// All of them.
    pub(crate) all: usize,
    /// Those whose worker handed the task back, because it was to stop.
    pub(crate) handed_back: usize,
    /// Tasks of which one execution was neither the last nor handed back.
    pub(crate) unexplained: usize,
}

impl Jaeger {
    pub(crate) async fn connect() -> Result<Self> {
        let proxy = Forwarding::start(&["proxy", "--port=0"]).await?;
        let port = proxy.port;
        let url = format!("http://127.0.0.1:{port}/api/v1/namespaces/{NAMESPACE}/services/jaeger:16686/proxy");
        Ok(Self { proxy, url })
    }

    pub(crate) async fn close(self) {
        self.proxy.stop().await;
    }

    /// A trace, as soon as it is `whole`.
    pub(crate) async fn trace(&self, id: &str, whole: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>> {
        let begun = Instant::now();
        loop {
            let spans = jaeger::spans(&self.url, id).await;
            if whole(&spans) {
                return Ok(spans);
            }
            if begun.elapsed() > ARRIVAL_TIME_MAX {
                bail!("Jaeger does not have all of trace {id}; what it has:\n{}", tree(&spans));
            }
            tokio::time::sleep(LOOK_PAUSE).await;
        }
    }

    /// Counts the executions of every task: each is one span `process <queue>`.
    pub(crate) async fn executions(&self, queue: &str, tasks: &[Ended]) -> Result<Executions> {
        let name = format!("process {queue}");
        let of = |task: &Ended, span: &Value| span["name"] == *name && attribute(span, "workfleet.task.id") == task.id;
        let reads = futures::stream::iter(tasks).map(async |task| {
            let last = |span: &Value| of(task, span) && attribute(span, "workfleet.task.final") == "true";
            let spans = self.trace(&task.trace, |spans| spans.iter().any(last)).await?;
            let runs: Vec<Value> = spans.into_iter().filter(|span| of(task, span)).collect();
            let count = |yes: &dyn Fn(&Value) -> bool| runs.iter().filter(|span| yes(span)).count();
            let handed_back = count(&|span| attribute(span, "workfleet.task.outcome") == "handed_back");
            let ends = count(&|span| attribute(span, "workfleet.task.final") == "true");
            let unexplained = usize::from(ends != 1 || ends + handed_back != runs.len());
            anyhow::Ok(Executions { all: runs.len(), handed_back, unexplained })
        });
        let mut reads = std::pin::pin!(reads.buffer_unordered(READS_MAX));
        let mut sum = Executions::default();
        while let Some(one) = reads.next().await {
            let one = one?;
            sum.all += one.all;
            sum.handed_back += one.handed_back;
            sum.unexplained += one.unexplained;
        }
        Ok(sum)
    }
}

/// A trace as lines, children below their parents.
pub(crate) fn tree(spans: &[Value]) -> String {
    let known = |id: &Value| spans.iter().any(|span| span["spanId"] == *id);
    let mut lines = Vec::new();
    for root in spans.iter().filter(|span| !known(&span["parentSpanId"])) {
        branch(spans, root, 0, &mut lines);
    }
    lines.join("\n")
}

fn branch(spans: &[Value], span: &Value, depth: usize, lines: &mut Vec<String>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut line = format!("{}{} ({})", "  ".repeat(depth), text(&span["name"]), text(&span["service"]));
    for (word, name) in [("attempt", "workfleet.task.attempt"), ("outcome", "workfleet.task.outcome")] {
        let value = attribute(span, name);
        if !value.is_empty() {
            line = format!("{line} {word}={value}");
        }
    }
    lines.push(line);
    let mut below: Vec<&Value> = spans.iter().filter(|child| child["parentSpanId"] == span["spanId"]).collect();
    below.sort_by_key(|child| text(&child["startTimeUnixNano"]).parse::<u64>().unwrap_or_default());
    for child in below {
        branch(spans, child, depth + 1, lines);
    }
}

#[test]
fn a_tree_has_every_span_below_its_parent() {
    let span = |id: &str, parent: &str, name: &str, at: &str| {
        serde_json::json!({
            "spanId": id, "parentSpanId": parent, "name": name, "service": "s", "startTimeUnixNano": at,
            "attributes": [{ "key": "workfleet.task.attempt", "value": { "intValue": "1" } }],
        })
    };
    let spans = [span("c", "a", "last", "3"), span("b", "a", "first", "2"), span("a", "", "root", "1")];
    assert_eq!(tree(&spans), "root (s) attempt=1\n  first (s) attempt=1\n  last (s) attempt=1");
}
