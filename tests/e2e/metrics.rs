//! Alerts, dashboard and documentation against what a real fleet exports. A metric that was renamed in the code alone would
//! leave an alert that can never fire, and nobody would notice before the night it was for.

/// What a fleet exports that has done everything once.
mod exported;

/// What alerts and dashboard ask for.
pub(crate) mod asked;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;
use workfleet_tests::workspace;

use asked::{Question, alerts, dashboard, rules_file};
use exported::Exported;

/// What Prometheus adds to every sample: where it came from.
const SCRAPED_LABELS: [&str; 6] = ["namespace", "instance", "job", "pod", "container", "service"];
/// What Jaeger and the collector export; `trace_storage` looks at those.
pub(crate) const OF_OTHERS: &str = "otelcol_";

fn assert_asks_for_what_is_there(question: &Question, exported: &Exported) {
    let place = &question.place;
    for selector in question.selectors.iter().filter(|selector| !selector.metric.starts_with(OF_OTHERS)) {
        let labels = exported.labels(&selector.metric);
        let labels = labels.unwrap_or_else(|| panic!("{place}: nothing exports {}", selector.metric));
        for (label, values) in &selector.matchers {
            let known = labels.contains_key(label) || SCRAPED_LABELS.contains(&label.as_str());
            assert!(known, "{place}: {} has no label {label}, only {:?}", selector.metric, labels.keys());
            let (Some(seen), true) = (labels.get(label), label.starts_with("workfleet_")) else { continue };
            for value in values {
                assert!(seen.contains(value), "{place}: {label} is never {value}, only {seen:?}");
            }
        }
    }
    let metrics = question.selectors.iter().map(|selector| selector.metric.as_str());
    let of_metrics = metrics.filter_map(|metric| exported.labels(metric)).flat_map(|labels| labels.keys());
    let mut known: BTreeSet<&str> = of_metrics.map(String::as_str).chain(SCRAPED_LABELS).collect();
    known.extend(question.made.iter().map(String::as_str));
    for label in &question.labels {
        assert!(known.contains(label.as_str()), "{place}: there is no label {label}, only {known:?}");
    }
}

#[tokio::test]
async fn every_alert_asks_for_what_is_exported() {
    let (exported, questions) = (exported::everything().await, alerts());
    assert!(questions.len() >= 15, "{}", questions.len());
    let with_recorded = exported.with(&questions);
    questions.iter().for_each(|question| assert_asks_for_what_is_there(question, &with_recorded));
}

#[tokio::test]
async fn every_panel_asks_for_what_is_exported() {
    let (exported, questions) = (exported::everything().await, dashboard());
    assert!(questions.len() >= 30, "{}", questions.len());
    questions.iter().for_each(|question| assert_asks_for_what_is_there(question, exported));
}

#[tokio::test]
async fn every_metric_is_documented_and_no_other() {
    let exported = exported::everything().await;
    let text = std::fs::read_to_string(workspace().join("docs/configuration.md")).expect("the page is there");
    let section = text.split("\n## Metrics\n").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("a section");
    let table: Vec<&str> = section.lines().filter(|line| line.starts_with("| `")).collect();
    let words = |line: &str, cell: usize| -> Vec<String> {
        let cell = line.split(" | ").nth(cell).unwrap_or_default().trim_start_matches("| ").to_owned();
        cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect()
    };
    let documented: BTreeSet<String> = table.iter().flat_map(|line| words(line, 0)).collect();
    let ours: BTreeSet<String> = exported.families().map(ToOwned::to_owned).collect();
    assert_eq!(documented.difference(&ours).collect::<Vec<_>>(), Vec::<&String>::new(), "documented and not exported");
    assert_eq!(ours.difference(&documented).collect::<Vec<_>>(), Vec::<&String>::new(), "exported and not documented");
    for line in table {
        for (metric, label) in words(line, 0).iter().flat_map(|m| words(line, 2).into_iter().map(move |l| (m, l))) {
            let known = exported.labels_of_family(metric);
            let is_label = known.iter().any(|name| *name == label);
            let is_value = known.iter().any(|name| exported.has_value(metric, name, &label));
            let looks_like_value = line.contains(&format!("(`{label}`")) || line.contains(&format!(", `{label}`"));
            assert!(is_label || is_value || looks_like_value, "{metric} has no label {label}, only {known:?}");
        }
    }
}

/// The checks above can fail: each mistake that somebody could make is noticed.
#[tokio::test]
async fn what_nobody_exports_is_noticed() {
    let exported = exported::everything().await;
    let is_noticed = |expression: &str| {
        let question = Question::read("a mistake".to_owned(), expression);
        std::panic::catch_unwind(|| assert_asks_for_what_is_there(&question, exported)).is_err()
    };
    assert!(!is_noticed(r#"sum by (queue) (workfleet_queue_waiting{queue="q", namespace="n"})"#));
    assert!(is_noticed("workfleet_queue_waitings"));
    assert!(is_noticed(r#"workfleet_queue_waiting{messaging_destination_name="q"}"#));
    assert!(is_noticed("sum by (kind) (workfleet_queue_waiting)"));
    assert!(is_noticed(r#"workfleet_task_attempts_total{workfleet_task_outcome=~"failed|retried"}"#));
    assert!(is_noticed("histogram_quantile(0.5, workfleet_task_wait_seconds)"));
}

/// Where Debian's package `prometheus`, or whoever, has put it.
fn promtool() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(workspace().join(".tools/bin")).chain(std::env::split_paths(&path));
    folders.map(|folder| folder.join("promtool")).find(|file| file.is_file())
}

#[test]
#[allow(clippy::print_stderr, reason = "a test that did not run must say so")]
fn every_alert_fires_in_its_own_test() {
    let tests = workspace().join("deploy/kubernetes/tests/alerts.yaml");
    let text = std::fs::read_to_string(&tests).expect("the alerts have tests");
    for alert in alerts().into_iter().filter_map(|question| question.alert) {
        assert!(text.contains(&format!("alertname=\"{alert}\"")), "{alert} fires in none of {}", tests.display());
    }
    let Some(promtool) = promtool() else {
        eprintln!("SKIPPED: there is no promtool on PATH or in .tools/bin, so that the alerts were not evaluated");
        return;
    };
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("rules.yaml"), rules_file()).expect("a file");
    std::fs::write(folder.path().join("alerts.yaml"), text).expect("a file");
    let output = Command::new(promtool).args(["test", "rules", "alerts.yaml"]).current_dir(folder.path()).output();
    let output = output.expect("promtool starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}
