//! The manifests on a real cluster: `make k8s-test`.
//!
//! One test that goes through scenarios in turn, since they share a cluster and starting a fleet takes longer than most
//! of them. Each leaves a line in a table of what was expected and what was measured. The alternative, a test per
//! scenario, would either start a fleet each or depend on an order that the test runner does not promise.
//!
//! Variables: `KUBECONFIG` (the cluster), `IMAGE_LOAD` (the command that brings an image's tar into it), `IMAGES` (where
//! the tars are; `.images` by default), `SCENARIO` (letters with commas; all by default), `KEEP=1` (leave the fleet as it
//! is at the end).

mod cluster;

mod kubectl;

mod load;

mod manifests;

mod operator;

mod pods;

#[path = "scenarios/images.rs"]
mod images;

#[path = "scenarios/scale.rs"]
mod scale;

#[path = "scenarios/drain.rs"]
mod drain;

#[path = "scenarios/broker.rs"]
mod broker;

#[path = "scenarios/versions.rs"]
mod versions;

#[path = "scenarios/trace.rs"]
mod trace;

#[path = "scenarios/keda.rs"]
mod keda;

#[path = "scenarios/refusals.rs"]
mod refusals;

#[path = "scenarios/operate.rs"]
mod operate;

mod table;

mod traces;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;

use cluster::{Cluster, say};
use manifests::{Manifests, Overlay};
use table::{Row, table};

/// Scenarios of `overlays/local`, in the order in which they are tried.
const LOCAL: [&str; 9] = ["a", "i", "f", "b", "c", "d", "e", "j", "g"];
/// Those of `overlays/production`.
const PRODUCTION: [&str; 2] = ["h", "k"];

#[tokio::test]
#[ignore = "needs a cluster: `make k8s-test KUBECONFIG=...`"]
async fn the_manifests_hold_on_a_real_cluster() {
    if let Err(error) = cluster::must_answer().await {
        panic!("{error:#}");
    }
    let unknown: Vec<String> = wanted().into_iter().flatten().filter(|name| !is_known(name)).collect();
    assert!(unknown.is_empty(), "SCENARIO: there is no {unknown:?}; there are {LOCAL:?} and {PRODUCTION:?}");
    let mut rows = Vec::new();
    if let Err(error) = run(&mut rows).await {
        rows.push(Row::failed("", "setting up", &error));
        evidence("setting-up").await;
    }
    say(&format!("\n{}\n", table(&rows)));
    if std::env::var_os("KEEP").is_none()
        && let Err(error) = cluster::remove_namespace().await
    {
        say(&format!("the namespace is still there: {error:#}"));
    }
    let failed = rows.iter().filter(|row| row.is_failed()).count();
    assert!(!rows.is_empty(), "nothing was tried");
    assert!(failed == 0, "{failed} of {} lines have failed", rows.len());
}

async fn run(rows: &mut Vec<Row>) -> Result<()> {
    let manifests = Manifests::prepare()?;
    say(&format!("{} images are in the cluster", cluster::load_images()?));
    let wanted = wanted();
    let of = |all: &[&'static str]| -> Vec<&'static str> {
        all.iter()
            .copied()
            .filter(|name| wanted.as_ref().is_none_or(|wanted| wanted.iter().any(|one| one == name)))
            .collect()
    };
    for (overlay, names) in [(Overlay::Local, of(&LOCAL)), (Overlay::Production, of(&PRODUCTION))] {
        if names.is_empty() {
            continue;
        }
        if overlay == Overlay::Production && !cluster::has_keda().await {
            rows.push(Row::skipped("h, k", "production overlay", "the cluster has no KEDA, which the overlay needs"));
            continue;
        }
        let mut cluster = Cluster::start(&manifests, overlay).await?;
        let took = format!("{} s, {} warnings", cluster.ready_after.as_secs(), cluster.warnings.len());
        rows.push(Row::passed("", format!("`kubectl apply -k`, overlay {overlay:?}"), "everything Ready", took));
        for name in names {
            let begun = Instant::now();
            say(&format!("--- scenario {name}"));
            match scenario(name, &mut cluster, &manifests).await {
                Ok(tried) => rows.extend(tried),
                Err(error) => {
                    rows.push(Row::failed(name, "", &error));
                    evidence(name).await;
                }
            }
            say(&format!("{}\n({} s)", table(rows).lines().last().unwrap_or_default(), begun.elapsed().as_secs()));
        }
    }
    Ok(())
}

async fn scenario(name: &str, cluster: &mut Cluster, manifests: &Manifests) -> Result<Vec<Row>> {
    match name {
        "a" => images::run(cluster).await,
        "b" => scale::run(cluster).await,
        "c" => drain::run(cluster).await,
        "d" => broker::one(cluster).await,
        "e" => versions::run(cluster).await,
        "f" => trace::run(cluster).await,
        "g" => keda::run(cluster, manifests).await,
        "h" => broker::three(cluster).await,
        "i" => refusals::run(cluster, manifests).await,
        "j" => operate::run(cluster, manifests).await,
        "k" => operate::production(cluster).await,
        other => anyhow::bail!("there is no scenario {other}"),
    }
}

fn is_known(name: &str) -> bool {
    LOCAL.iter().chain(&PRODUCTION).any(|known| *known == name)
}

/// Which scenarios were asked for; `None` is all of them.
fn wanted() -> Option<Vec<String>> {
    let names = std::env::var("SCENARIO").ok().filter(|names| !names.is_empty())?;
    Some(names.split(',').map(|name| name.trim().to_owned()).collect())
}

/// Keeps what the cluster knows, and says where.
async fn evidence(name: &str) {
    let folder =
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("k8s-test").join(format!("{}-{name}", std::process::id()));
    match cluster::keep_evidence(&folder).await {
        Ok(()) => say(&format!("what the cluster knows about it is in {}", folder.display())),
        Err(error) => say(&format!("what the cluster knows about it could not be kept: {error:#}")),
    }
}
