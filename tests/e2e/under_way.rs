use std::collections::BTreeMap;

use workfleet_tests::{Fleet, Probe, eventually};

/// One number of each bound, by its name.
async fn told(fleet: &Fleet, metric: &str) -> BTreeMap<String, u64> {
    let text = fleet.http.get("/metrics").send().await.expect(200).text();
    let samples = text.lines().filter(|line| line.starts_with(&format!("{metric}{{")));
    let read = |line: &str| {
        let (_, limit) = line.split_once("limit=\"")?;
        Some((limit.split_once('"')?.0.to_owned(), line.rsplit_once(' ')?.1.parse().ok()?))
    };
    samples.map(|line| read(line).unwrap_or_else(|| panic!("{line}"))).collect()
}

/// As many of each as of no other, so that none can be taken for another.
#[tokio::test]
async fn what_is_under_way_in_a_dispatcher_is_told_beside_its_bound() {
    let fleet = Fleet::builder().slots(8).start().await;
    let probe = Probe::echo("long").sleeps_ms(60_000);
    let id = fleet.submit(&probe).await;
    let mut watches = Vec::new();
    for _ in 0..3 {
        watches.push(fleet.events(&id, None).await);
    }
    let body = fleet.logged(&probe);
    for _ in 0..2 {
        let wait = fleet.http.post("/v1/queues/probe/tasks").header("prefer", "wait=50").json(&body);
        tokio::spawn(wait.send());
    }
    tokio::spawn(fleet.http.post("/v1/queues/probe/calls?timeout=50s").json(&body).send());
    let used = [
        ("blobs_read_max", 0),
        ("bulk_cancels_max", 0),
        ("calls_max", 1),
        ("cancels_max", 0),
        ("large_bytes_max", 0),
        ("lists_max", 0),
        ("submits_bytes_max", 0),
        ("waits_max", 2),
        ("watches_max", 3),
    ];
    let used: BTreeMap<_, _> = used.map(|(limit, used)| (limit.to_owned(), used)).into();
    eventually("all is told that is under way", async || {
        (told(&fleet, "workfleet_dispatcher_used").await == used).then_some(())
    })
    .await;
    let limits = [
        ("blobs_read_max", 256),
        ("bulk_cancels_max", 8),
        ("calls_max", 10_000),
        ("cancels_max", 256),
        ("large_bytes_max", 512 << 20),
        ("lists_max", 16),
        ("submits_bytes_max", 64 << 20),
        ("waits_max", 10_000),
        ("watches_max", 10_000),
    ];
    let limits: BTreeMap<_, _> = limits.map(|(limit, max)| (limit.to_owned(), max)).into();
    assert_eq!(told(&fleet, "workfleet_dispatcher_limit").await, limits);
    drop(watches);
}
