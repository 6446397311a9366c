//! E: two versions side by side.

use std::time::Duration;

use anyhow::Result;
use workfleet_tests::Probe;

use crate::cluster::{Cluster, images, version};
use crate::kubectl::kubectl;
use crate::load::Plan;
use crate::pods;
use crate::table::Row;

const WHAT: &str = "rollouts previous -> current -> previous version";
/// The tag of what an earlier commit was built into.
const PREVIOUS: &str = "previous";
const TASKS: usize = 900;
const LOST_AFTER: Duration = Duration::from_secs(420);

/// e: two versions side by side, in both directions, tasks flowing.
pub(crate) async fn run(cluster: &Cluster) -> Result<Vec<Row>> {
    let programs = ["dispatcher", "probe", "thumbnail"];
    let missing = programs.iter().find(|name| !images().join(PREVIOUS).join(format!("{name}.tar")).is_file());
    if let Some(name) = missing {
        let tar = images().join(PREVIOUS).join(format!("{name}.tar"));
        return Ok(vec![Row::skipped("e", WHAT, format!("there is no {}", tar.display()))]);
    }
    roll_to(&programs, PREVIOUS).await?;
    let probe = Probe::echo("steady").sleeps_ms(1_000);
    let probes = cluster.load(Plan::probes(TASKS, &probe).per_second(8.0).lost_after(LOST_AFTER)).await?;
    let images = cluster.load(Plan::images(TASKS).per_second(8.0).lost_after(LOST_AFTER)).await?;
    probes.ended(20).await?;
    roll_to(&programs, version()).await?;
    roll_to(&programs, PREVIOUS).await?;
    let mut words = Vec::new();
    for (queue, load) in [("probe", probes), ("thumbnail", images)] {
        let report = load.report().await?;
        report.whole(TASKS)?.first_attempts()?;
        words.push(format!("{queue}: {}", report.words()));
    }
    roll_to(&programs, version()).await?;
    let expected = format!("2 x {TASKS} completed, 0 lost, attempts x 1");
    Ok(vec![Row::passed("e", format!("{WHAT} under 2 x {TASKS} tasks"), expected, words.join("; "))])
}

async fn roll_to(programs: &[&str], tag: &str) -> Result<()> {
    let deployment = |name: &str| match name {
        "dispatcher" => "deployment/dispatcher".to_owned(),
        queue => format!("deployment/worker-{queue}"),
    };
    for name in programs {
        kubectl(&["set", "image", &deployment(name), &format!("*=workfleet/{name}:{tag}")]).await?;
    }
    for name in programs {
        pods::rolled_out(&deployment(name)).await?;
    }
    Ok(())
}
