//! Faults, under load: nothing that was accepted is lost, nothing is recorded twice, and everything ends.
//!
//! Each row of the table is a test: a fleet of several dispatchers and workers, clients that submit as fast as the fleet
//! goes, and a fault that strikes again and again. It must have struck, and the row says how often. A few rows in a short
//! form are part of `make test`; `make chaos` runs all in full, and writes the table to `target/chaos/table.md` and, when
//! it is complete, into `docs/guarantees.md`.

/// What `workfleet audit` says in the end.
mod advisories;

mod audit;

/// 10,000 cancels.
mod cancels;

/// What is broken.
mod field;

/// The blows.
mod faults;

/// How much is done.
mod form;

/// Who submits.
mod load;

/// What is submitted.
mod mix;

/// What a cancel must not touch.
mod neighbours;

/// How fast it goes.
mod pace;

/// One row: warm up, strike, recover, count.
mod row;

/// What is printed and kept.
mod table;

/// What became of everything.
mod verdict;

use field::Ground;
use row::{Row, run};

/// All rows of the table, so that a full run is known from a part of one.
const ROWS: usize = 13;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_are_killed() {
    let row = Row::new(1, "SIGKILL of workers", "kills that hit a running task", Ground::One).strikes(12);
    run(row, async |field, _| faults::kill_worker(field).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
async fn workers_are_frozen_past_the_lease() {
    let row = Row::new(2, "SIGSTOP of workers past the lease, SIGCONT", "freezes", Ground::One).strikes(6);
    run(row, async |field, _| faults::freeze_worker(field).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
async fn dispatchers_are_killed() {
    let row = Row::new(3, "SIGKILL of dispatchers", "kills", Ground::One).strikes(12);
    run(row, async |field, _| faults::kill_dispatcher(field).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
async fn the_only_server_is_killed() {
    let row = Row::new(4, "SIGKILL of the only server", "kills", Ground::One).strikes(5);
    run(row, async |field, _| faults::kill_server(field).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_of_the_tasks_is_killed() {
    let row = Row::new(5, "SIGKILL of the leader of `TASKS`", "new leaders", Ground::Three).strikes(3);
    run(row, async |field, _| faults::kill_leader(field, "TASKS_probe").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
async fn the_leader_of_the_results_is_killed() {
    let row = Row::new(6, "SIGKILL of the leader of `RESULTS`", "new leaders", Ground::Three).strikes(3);
    run(row, async |field, _| faults::kill_leader(field, "RESULTS_probe").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
async fn the_leader_of_the_tasks_is_frozen() {
    let row = Row::new(7, "SIGSTOP of the leader of `TASKS`, SIGCONT", "new leaders", Ground::Three).strikes(2);
    run(row, async |field, _| faults::freeze_leader(field, "TASKS_probe").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
async fn all_servers_are_restarted_one_after_the_other() {
    let row = Row::new(8, "rolling restart of all servers", "restarts", Ground::Three).strikes(2);
    run(row, async |field, _| faults::restart_all(field).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
async fn links_are_cut() {
    let row = Row::new(9, "links to the broker cut", "connections cut", Ground::Linked).strikes(8);
    run(row, async |field, _| faults::cut(field).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
async fn links_are_stalled() {
    let row = Row::new(10, "links to the broker stalled past the lease", "bytes held", Ground::Linked).strikes(5);
    run(row, async |field, _| faults::stall(field).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
async fn links_are_slow() {
    let row = Row::new(11, "links to the broker slowed", "bytes slowed", Ground::Linked).strikes(3);
    run(row, async |field, _| faults::slow(field).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
async fn the_brokers_disk_is_full() {
    let row = Row::new(12, "broker's disk full", "requests refused", Ground::SmallDisk).strikes(2);
    run(row, async |field, load| faults::fill_disk(field, load).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a row of `make chaos`"]
async fn a_replica_loses_its_disk() {
    let row = Row::new(13, "the store deleted under one replica", "stores deleted", Ground::Three).strikes(2);
    run(row, async |field, _| faults::delete_store(field, "TASKS_probe").await).await;
}
