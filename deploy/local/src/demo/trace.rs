//! A trace as a tree of lines.

use std::collections::HashSet;
use std::fmt::Write as _;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;

/// Spans that the trace of a thumbnail with a webhook has, whatever else: one trace over two queues.
const EXPECTED: [&str; 7] =
    ["publish thumbnail", "process thumbnail", "decode", "resize", "encode", "publish webhook", "process webhook"];

/// What is shown of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) trace_id: String,
    id: String,
    /// Empty at the root.
    parent: String,
    name: String,
    service: String,
    started_ns: u64,
    ended_ns: u64,
}

/// All spans in what an exporter sent.
pub(super) fn spans(request: &ExportTraceServiceRequest) -> Vec<Span> {
    let mut all = Vec::new();
    for resource in &request.resource_spans {
        let service = resource.resource.as_ref().and_then(service_name).unwrap_or_default();
        for span in resource.scope_spans.iter().flat_map(|scope| &scope.spans) {
            all.push(Span {
                trace_id: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name.clone(),
                service: service.clone(),
                started_ns: span.start_time_unix_nano,
                ended_ns: span.end_time_unix_nano,
            });
        }
    }
    all
}

fn service_name(resource: &Resource) -> Option<String> {
    let named = resource.attributes.iter().find(|attribute| attribute.key == "service.name")?;
    match named.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        _ => None,
    }
}

/// What a whole trace has and this one has not: spans by name, and one root that all hang from.
pub(super) fn missing(spans: &[Span]) -> Vec<String> {
    let here = |name: &str| spans.iter().any(|span| span.name == name);
    let mut missing: Vec<String> = EXPECTED.iter().filter(|name| !here(name)).map(|name| (*name).to_owned()).collect();
    match roots(spans).as_slice() {
        [root] if root.parent.is_empty() => {}
        roots => missing.extend(roots.iter().map(|span| format!("parent of {}", span.name))),
    }
    missing
}

/// The trace as text: a line for each span below its parent, in the order in which they began.
pub(super) fn tree(spans: &[Span]) -> String {
    let mut lines = Vec::new();
    for root in roots(spans) {
        branch(root, spans, "  ", "  ", &mut lines);
    }
    let width = lines.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    lines.iter().fold(String::new(), |mut text, (label, span)| {
        let took_us = span.ended_ns.saturating_sub(span.started_ns) / 1000;
        let _ = writeln!(text, "{label:width$}  {:>6}.{} ms  {}", took_us / 1000, took_us % 1000 / 100, span.service);
        text
    })
}

/// Spans whose parent is not there, oldest first.
fn roots(spans: &[Span]) -> Vec<&Span> {
    let here: HashSet<&str> = spans.iter().map(|span| span.id.as_str()).collect();
    let mut roots: Vec<&Span> = spans.iter().filter(|span| !here.contains(span.parent.as_str())).collect();
    roots.sort_by_key(|span| span.started_ns);
    roots
}

fn branch<'a>(span: &'a Span, spans: &'a [Span], first: &str, rest: &str, lines: &mut Vec<(String, &'a Span)>) {
    lines.push((format!("{first}{}", span.name), span));
    let mut children: Vec<&Span> = spans.iter().filter(|child| child.parent == span.id).collect();
    children.sort_by_key(|child| child.started_ns);
    for (at, child) in children.iter().enumerate() {
        let (first, below) = if at + 1 == children.len() { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        branch(child, spans, &format!("{rest}{first}"), &format!("{rest}{below}"), lines);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Span, missing, tree};

    fn span(id: &str, parent: &str, name: &str, started_ms: u64, took_ms: u64) -> Span {
        Span {
            trace_id: "t".to_owned(),
            id: id.to_owned(),
            parent: parent.to_owned(),
            name: name.to_owned(),
            service: "s".to_owned(),
            started_ns: started_ms * 1_000_000,
            ended_ns: (started_ms + took_ms) * 1_000_000,
        }
    }

    fn whole() -> Vec<Span> {
        vec![
            span("8", "7", "process webhook", 12, 4),
            span("6", "3", "encode", 7, 2),
            span("7", "3", "publish webhook", 10, 1),
            span("4", "3", "decode", 4, 1),
            span("5", "3", "resize", 5, 1),
            span("3", "2", "process thumbnail", 3, 6),
            span("1", "", "POST", 0, 3),
            span("2", "1", "publish thumbnail", 1, 1),
        ]
    }

    #[test]
    fn a_tree_is_drawn_in_the_order_of_time() {
        let expected = "  POST                       3.0 ms  s
  └─ publish thumbnail       1.0 ms  s
     └─ process thumbnail    6.0 ms  s
        ├─ decode            1.0 ms  s
        ├─ resize            1.0 ms  s
        ├─ encode            2.0 ms  s
        └─ publish webhook   1.0 ms  s
           └─ process webhook 4.0 ms s
";
        // The columns are as wide as the longest label, which the text above is not to depend on.
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(squeezed(&tree(&whole())), squeezed(expected));
        assert!(
            tree(&whole())
                .lines()
                .all(|line| line.chars().count() == tree(&whole()).lines().next().unwrap().chars().count())
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(&whole()), Vec::<String>::new());
        let mut without_publish = whole();
        without_publish.pop();
        assert_eq!(missing(&without_publish), ["publish thumbnail", "parent of POST", "parent of process thumbnail"]);
        assert_eq!(missing(&[]).len(), 7);
        let mut torn = whole();
        torn[0].trace_id = "u".to_owned();
        torn.retain(|span| span.trace_id == "t");
        assert_eq!(missing(&torn), ["process webhook"], "a second trace is no part of the first");
    }
}
