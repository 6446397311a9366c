use std::time::{Duration, Instant};

use workfleet_tests::runs::Run;
use workfleet_tests::{Fleet, Probe, eventually, eventually_within};

#[tokio::test]
async fn a_task_whose_worker_is_killed_runs_again_elsewhere() {
    let mut fleet = Fleet::builder().workers("probe", 2).start().await;
    let id = fleet.submit(&Probe::echo("survivor").sleeps_ms(1_500)).await;
    let first = fleet.started(&id).await;
    let killed = Instant::now();
    fleet.worker_of(&first).kill();
    let task = fleet.completed(&id).await;
    assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    assert_eq!(task["attempt"], 2, "a crash spends an attempt: {task:#}");
    let runs = fleet.runs_of(&id);
    assert_eq!(runs.len(), 2);
    assert_ne!(runs[1].pid, first.pid);
    assert_eq!(fleet.observer.stores_of(&id).await, 1);
}

#[tokio::test]
async fn a_worker_that_was_frozen_past_its_lease_records_nothing_more() {
    let mut fleet = Fleet::builder().probe(|queue| queue.lease("1s")).workers("probe", 2).start().await;
    let id = fleet.submit(&Probe::echo("one result").sleeps_ms(1_500)).await;
    let frozen = fleet.started(&id).await;
    fleet.worker_of(&frozen).freeze();
    let task = fleet.completed(&id).await;
    fleet.worker_of(&frozen).thaw();
    eventually("the frozen handler comes to its end", async || {
        fleet.runs_of(&id).iter().any(|run| run.pid == frozen.pid && run.ended).then_some(())
    })
    .await;
    // A drained worker has settled all that it will ever settle.
    fleet.worker_of(&frozen).drain().await;
    assert_eq!(fleet.observer.stores_of(&id).await, 1);
    let now = fleet.task(&id).await;
    assert_eq!((&now["ended_at"], &now["output"]), (&task["ended_at"], &task["output"]));
}

#[tokio::test]
async fn a_frozen_worker_that_would_have_failed_changes_nothing() {
    let mut fleet = Fleet::builder().probe(|queue| queue.lease("1s")).workers("probe", 2).start().await;
    let id = fleet.submit_with("?attempts_max=2", &Probe::echo("late").sleeps_ms(1_500).fails(1)).await;
    let frozen = fleet.started(&id).await;
    fleet.worker_of(&frozen).freeze();
    fleet.completed(&id).await;
    fleet.worker_of(&frozen).thaw();
    fleet.worker_of(&frozen).drain().await;
    assert_eq!(fleet.task(&id).await["state"], "completed");
    assert_eq!(fleet.observer.stores_of(&id).await, 1);
    assert!(fleet.dead_letter(&id).await.is_none());
}

/// What waits in the queue is as new as ever; only what the worker held, or was sent, may be another's by now.
#[tokio::test]
async fn a_worker_that_wakes_up_does_not_spend_the_attempts_of_the_whole_queue() {
    let fleet = Fleet::builder().probe(|queue| queue.lease("1s").attempts_max(2)).slots(2).start().await;
    let mut ids = Vec::new();
    for _ in 0..40 {
        ids.push(fleet.submit(&Probe::echo("waits").sleeps_ms(150)).await);
    }
    fleet.started(&ids[1]).await;
    fleet.workers[0].freeze();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    fleet.workers[0].thaw();
    let mut again = 0;
    for id in &ids {
        again += usize::from(fleet.completed(id).await["attempt"] != 1);
    }
    assert!(again <= 4, "{again} tasks lost an attempt; the worker has two slots");
}

#[tokio::test]
async fn a_handler_that_blocks_its_thread_keeps_its_lease() {
    let fleet = Fleet::builder().probe(|queue| queue.lease("1s")).workers("probe", 2).start().await;
    // One for each thread of a runtime on two cores, and more.
    let probes = (0..4).map(|_| Probe::echo("busy").blocks_ms(3_500));
    let mut ids = Vec::new();
    for probe in probes {
        ids.push(fleet.submit(&probe).await);
    }
    for id in ids {
        assert_eq!(fleet.completed(&id).await["attempt"], 1);
        assert_eq!(fleet.runs_of(&id).len(), 1, "no redelivery");
    }
}

/// What a worker of one slot holds is one task: the broker must not hand it a second one to keep.
#[tokio::test]
async fn a_short_task_does_not_wait_behind_a_long_one() {
    let fleet = Fleet::builder().workers("probe", 2).slots(1).start().await;
    let long = fleet.submit(&Probe::echo("long").sleeps_ms(10_000)).await;
    let holder = fleet.started(&long).await;
    for _ in 0..5 {
        let begun = Instant::now();
        let short = fleet.submit(&Probe::echo("short").sleeps_ms(100)).await;
        let run: Run = fleet.started(&short).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_ne!(run.pid, holder.pid);
        assert_eq!(fleet.completed(&short).await["attempt"], 1);
        assert_eq!(fleet.runs_of(&short).len(), 1);
    }
    assert_eq!(fleet.completed(&long).await["attempt"], 1);
    assert_eq!(fleet.runs_of(&long).len(), 1);
}

#[tokio::test]
async fn a_drain_lets_work_end_that_ends_in_time() {
    let mut fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("nearly done").sleeps_ms(1_500)).await;
    fleet.started(&id).await;
    fleet.workers[0].drain().await;
    assert_eq!(fleet.completed(&id).await["attempt"], 1);
    assert_eq!(fleet.runs_of(&id).len(), 1);
}

#[tokio::test]
async fn a_drain_hands_back_what_does_not_end_and_spends_no_attempt() {
    let builder = Fleet::builder().probe(|queue| queue.lease("20s")).variable("WORKFLEET_DRAIN_TIMEOUT", "500ms");
    let mut fleet = builder.slots(2).start().await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(fleet.submit_with("?attempts_max=1", &Probe::echo("moved").sleeps_ms(2_500)).await);
    }
    let two_run = async || (fleet.runs().len() == 2).then_some(());
    eventually("both slots are taken", two_run).await;
    fleet.workers[0].drain().await;

    let drained = Instant::now();
    fleet.add_worker("probe").await;
    for id in &ids {
        let task = fleet.completed(id).await;
        assert_eq!(task["attempt"], 1, "{task:#}");
        assert_eq!(fleet.observer.stores_of(id).await, 1);
    }
    assert!(drained.elapsed() < Duration::from_secs(15), "nobody waited for a lease: {:?}", drained.elapsed());
    assert_eq!(fleet.runs().len(), 5);
}

#[tokio::test]
async fn a_worker_that_leaves_is_gone_from_the_queue() {
    let mut fleet = Fleet::builder().workers("probe", 2).start().await;
    let workers = async |fleet: &Fleet| {
        let queue = fleet.http.get("/v1/queues/probe").send().await.expect(200).json();
        queue["workers"].as_array().map_or(0, Vec::len)
    };
    eventually("both are listed", async || (workers(&fleet).await == 2).then_some(())).await;
    fleet.workers[0].drain().await;
    assert_eq!(workers(&fleet).await, 1, "a drained worker takes its record along");
    fleet.workers[1].kill();
    let vanishes = async || (workers(&fleet).await == 0).then_some(());
    eventually_within(Duration::from_secs(20), "a killed one vanishes by itself", vanishes).await;
}

#[tokio::test]
async fn a_worker_tells_that_it_lives_and_what_it_does() {
    let fleet = Fleet::start().await;
    let id = fleet.submit(&Probe::echo("counted")).await;
    fleet.completed(&id).await;
    let admin = fleet.workers[0].admin();
    for path in ["livez", "readyz"] {
        let answer = workfleet_tests::get(format!("http://{admin}/{path}")).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
    }
    let metrics = workfleet_tests::get(format!("http://{admin}/metrics")).await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("messaging_process_duration_seconds"), "{metrics}");
    assert!(!metrics.contains(&id), "no task id ever becomes a label");
}

#[tokio::test]
async fn a_process_whose_slots_are_all_stuck_ends_itself() {
    let mut fleet = Fleet::builder().probe(|queue| queue.timeout("1s").attempts_max(1)).slots(1).start().await;
    let id = fleet.submit(&Probe::echo("stuck").blocks_ms(60_000)).await;
    assert_eq!(fleet.failed(&id).await["failure"]["code"], "timeout");
    let status = fleet.workers[0].process().left().await;
    assert!(!status.success(), "whoever supervises it starts it again: {status}");
}

#[tokio::test]
async fn a_worker_waits_for_its_queue_and_makes_none() {
    let mut fleet = Fleet::builder().workers("probe", 0).start().await;
    fleet.launch_worker("thumbnail");
    let admin = fleet.workers[0].listening().await;
    let answer = workfleet_tests::get(format!("http://{admin}/readyz")).await.expect("an answer");
    assert_eq!(answer.status(), 503);
    let alive = workfleet_tests::get(format!("http://{admin}/livez")).await.expect("an answer");
    assert_eq!(alive.status(), 200, "nothing that a restart would mend");
    let streams = fleet.jetstream().await.get_stream("TASKS_thumbnail").await;
    assert!(streams.is_err(), "only `provision` makes streams");
    fleet.provision("thumbnail").await;
    fleet.workers[0].ready().await;
}
