use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use workfleet_proto::v1::GetRequest;
use workfleet_tests::{Fleet, Probe, eventually, get};

use super::asked::Question;

/// Bytes that travel as a blob.
const LARGE_BYTES: u32 = 400_000;
const TOKEN: &str = "wf_of_this_test";

/// One fleet for all tests here: it is only looked at.
static EVERYTHING: OnceCell<Exported> = OnceCell::const_new();

/// Labels with their values, of each series.
type Labels = BTreeMap<String, BTreeSet<String>>;

/// What was scraped: every name that a query can ask for.
#[derive(Debug, Clone, Default)]
pub(super) struct Exported {
    series: BTreeMap<String, Labels>,
    /// The names as they are documented: a histogram has one, and three kinds of series.
    families: BTreeSet<String>,
}

impl Exported {
    fn read(&mut self, text: &str) {
        for line in text.lines() {
            if let Some(family) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split(' ').next()) {
                self.families.insert(family.to_owned());
            } else if !line.starts_with('#') && !line.is_empty() {
                self.read_sample(line);
            }
        }
        self.families.remove("target_info");
    }

    fn read_sample(&mut self, line: &str) {
        let (series, _) = line.rsplit_once(' ').expect("a sample has a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let known = self.series.entry(name.to_owned()).or_default();
        let labels = labels.trim_end_matches('}');
        // No value of ours has a quotation mark in it.
        for pair in labels.split("\",").filter(|pair| !pair.is_empty()) {
            let (label, value) = pair.split_once("=\"").expect("a label has a value");
            known.entry(label.to_owned()).or_default().insert(value.trim_end_matches('"').to_owned());
        }
    }

    /// The labels of all series of this name.
    pub(super) fn labels(&self, series: &str) -> Option<&Labels> {
        self.series.get(series)
    }

    /// The names as they are documented.
    pub(super) fn families(&self) -> impl Iterator<Item = &str> {
        self.families.iter().map(String::as_str)
    }

    /// The labels of a metric by its documented name.
    pub(super) fn labels_of_family(&self, family: &str) -> Vec<&str> {
        let series = self.series.get(family).or_else(|| self.series.get(&format!("{family}_count")));
        series.map(|labels| labels.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// Whether a label of a metric was seen with this value.
    pub(super) fn has_value(&self, family: &str, label: &str, value: &str) -> bool {
        self.series.get(family).and_then(|labels| labels.get(label)).is_some_and(|values| values.contains(value))
    }

    /// With what the recording rules make of it. A recorded label has the values of its source.
    pub(super) fn with(&self, rules: &[Question]) -> Self {
        let mut all = self.clone();
        for rule in rules {
            let Some(name) = &rule.record else { continue };
            let source = rule.selectors.first().and_then(|selector| self.series.get(&selector.metric));
            let labels = rule.labels.iter().map(|label| {
                let values = source.and_then(|source| source.get(label)).cloned().unwrap_or_default();
                (label.clone(), values)
            });
            all.series.insert(name.clone(), labels.collect());
        }
        all
    }
}

/// Everything that dispatcher and worker export once each of it has happened.
pub(super) async fn everything() -> &'static Exported {
    EVERYTHING
        .get_or_init(async || {
            let mut exported = Exported::default();
            fleet(&mut exported).await;
            strangers(&mut exported).await;
            exported
        })
        .await
}

async fn fleet(exported: &mut Exported) {
    let builder = Fleet::builder().probe(|queue| queue.payload_bytes_max(1_000_000).blobs_bytes_max(8_000_000));
    let fleet = builder.start().await;
    let large = Probe::echo("large").padding(LARGE_BYTES as usize);
    let gone = fleet.submit_with("?delay=2s", &large).await;
    let store = fleet.jetstream().await.get_stream("OBJ_IN_probe").await.expect("the store is there");
    store.purge().await.expect("it is purged");

    fleet.completed(&fleet.submit(&Probe::echo("completed")).await).await;
    fleet.completed(&fleet.submit(&Probe::echo("retried").fails(1)).await).await;
    fleet.failed(&fleet.submit(&Probe::echo("failed").fails_with("bad_image")).await).await;
    fleet.completed(&fleet.submit(&large.output_bytes(LARGE_BYTES)).await).await;
    fleet.submit_with("?deadline=1ms", &Probe::echo("too late")).await;
    fleet.call("", &Probe::echo("called")).await.expect(200);
    for (text, status) in [("one", 202), ("two", 409)] {
        let request = fleet.http.post("/v1/queues/probe/tasks").header("Idempotency-Key", "k");
        request.json(&Probe::echo(text).json()).send().await.expect(status);
    }
    let upload = fleet.http.put("/v1/blobs/probe_huge").bytes("application/octet-stream", vec![7; 5_000_000]);
    upload.send().await.expect_problem(413, "payload_too_large");
    fleet.failed(&gone).await;
    fleet.grpc().await.get(GetRequest { id: gone }).await.expect("a task");

    let worker = format!("http://{}/metrics", fleet.workers[0].admin());
    let (of_dispatcher, of_worker) = eventually("queues and stores are measured", async || {
        let of_dispatcher = fleet.http.get("/metrics").send().await.expect(200).text();
        let of_worker = get(&worker).await.ok()?.text().await.ok()?;
        let measured = [
            "workfleet_queue_oldest_age",
            "workfleet_blob_stored_size_max",
            "workfleet_blob_swept",
            "workfleet_operation_stored_size_max",
            "workfleet_deadline_passed",
        ];
        measured.iter().all(|name| of_dispatcher.contains(name)).then_some((of_dispatcher, of_worker))
    })
    .await;
    exported.read(&of_dispatcher);
    exported.read(&of_worker);
}

/// A dispatcher that asks for tokens, and somebody who has none.
async fn strangers(exported: &mut Exported) {
    let folder = TempDir::new().expect("a folder");
    let tokens = folder.path().join("tokens.toml");
    let hash: String = Sha256::digest(TOKEN).iter().map(|byte| format!("{byte:02x}")).collect();
    let entry = format!("[[token]]\nname = \"test\"\nsha256 = \"{hash}\"\nqueues = [\"*\"]\nmay = [\"read\"]\n");
    std::fs::write(&tokens, entry).expect("a file");
    let builder = Fleet::builder().workers("probe", 0);
    let fleet = builder.variable("WORKFLEET_TOKENS_FILE", &tokens.display().to_string()).start().await;
    fleet.http.get("/v1/queues").send().await.expect_problem(401, "unauthenticated");
    let request = fleet.http.get("/metrics").header("authorization", &format!("Bearer {TOKEN}"));
    exported.read(&request.send().await.expect(200).text());
}
