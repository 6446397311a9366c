//! The blows. Each gives how often it has struck, and is worth nothing where that is never.

use std::time::Duration;

use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, rng};
use workfleet_tests::{Link, SERVERS, eventually_within, runs};

use crate::field::Field;
use crate::load::Load;

/// Longer than the lease of the queue, 2 s.
const FROZEN: Duration = Duration::from_millis(3_000);
/// How long a server stays away.
const AWAY: Duration = Duration::from_millis(1_500);
/// How long links are cut: clients try again all the while.
const CUT: Duration = Duration::from_millis(800);
/// How long links are stalled: longer than the lease.
const STALLED: Duration = Duration::from_millis(3_500);
/// How long links are slow, and for how long a slow link keeps each piece.
const SLOWED: Duration = Duration::from_secs(5);
const SLOW: Duration = Duration::from_millis(30);
/// Requests that a full disk must refuse.
const REFUSED_MIN: u64 = 24;
const PATIENCE: Duration = Duration::from_secs(60);

/// SIGKILL for a worker that has running tasks, and a new one in its place: 1 where it hit one.
pub(crate) async fn kill_worker(field: &mut Field) -> u64 {
    let victim = busy_worker(field).await;
    let pid = field.stand.workers[victim].pid();
    field.falls();
    field.stand.workers[victim].replace();
    assert_ne!(field.stand.workers[victim].pid(), pid, "it was killed");
    // Read after the kill: what has no end by then never gets one.
    u64::from(runs::unfinished(&field.stand.runs(), pid) > 0)
}

/// SIGSTOP for a worker that has running tasks, past their leases, and then it goes on: 1 where others had them by then.
pub(crate) async fn freeze_worker(field: &mut Field) -> u64 {
    let victim = busy_worker(field).await;
    field.falls();
    field.stand.workers[victim].freeze();
    let pid = field.stand.workers[victim].pid();
    let before = field.stand.runs();
    tokio::time::sleep(FROZEN).await;
    let after = field.stand.runs();
    field.stand.workers[victim].thaw();
    let held = before.iter().filter(|run| run.pid == pid && !run.ended);
    let taken = held.filter(|held| after[before.len()..].iter().any(|run| run.task == held.task));
    u64::from(taken.count() > 0)
}

/// SIGKILL for a dispatcher, and a new one in its place: 1 where it is a new one.
pub(crate) async fn kill_dispatcher(field: &mut Field) -> u64 {
    let victim = rng().random_range(0..field.stand.dispatchers());
    let pid = field.stand.dispatcher_pid(victim);
    field.falls();
    field.stand.replace_dispatcher(victim).await;
    u64::from(field.stand.dispatcher_pid(victim) != pid)
}

/// SIGKILL for the only server, which then returns: 1 where it is a new process.
pub(crate) async fn kill_server(field: &mut Field) -> u64 {
    let pid = field.server().process().pid();
    field.falls();
    field.server().kill();
    tokio::time::sleep(AWAY).await;
    field.server().restart().await;
    u64::from(field.server().process().pid() != pid)
}

/// SIGKILL for the server that leads a stream, which then returns: 1 where another led the stream meanwhile.
pub(crate) async fn kill_leader(field: &mut Field, stream: &str) -> u64 {
    let leader = field.cluster().leader_of(stream).await;
    field.falls();
    let cluster = field.cluster();
    cluster.kill(leader);
    let next = cluster.leader_of(stream).await;
    tokio::time::sleep(AWAY).await;
    cluster.restart(leader).await;
    u64::from(next != leader)
}

/// SIGSTOP for the server that leads a stream: 1 where another led the stream meanwhile.
pub(crate) async fn freeze_leader(field: &mut Field, stream: &str) -> u64 {
    let leader = field.cluster().leader_of(stream).await;
    field.falls();
    let cluster = field.cluster();
    cluster.freeze(leader);
    let others = async || cluster.leader_now(stream).await.filter(|next| *next != leader);
    let next = eventually_within(PATIENCE, "another server leads", others).await;
    cluster.thaw(leader);
    cluster.healthy().await;
    u64::from(next != leader)
}

/// SIGTERM for each server in turn, each back and well before the next.
pub(crate) async fn restart_all(field: &mut Field) -> u64 {
    field.falls();
    field.cluster().rolling_restart().await;
    SERVERS as u64
}

/// A server's disk is gone, and it comes back with an empty one.
pub(crate) async fn delete_store(field: &mut Field, stream: &str) -> u64 {
    let victim = field.cluster().leader_of(stream).await;
    field.falls();
    let cluster = field.cluster();
    cluster.kill(victim);
    cluster.delete_store(victim);
    tokio::time::sleep(AWAY).await;
    cluster.restart(victim).await;
    1
}

/// Ends every connection of the programs: how many.
pub(crate) async fn cut(field: &mut Field) -> u64 {
    let cut = |field: &Field| field.links.iter().map(workfleet_tests::Proxy::cut).sum::<u64>();
    let before = cut(field);
    during(field, Link::Cut, CUT).await;
    cut(field) - before
}

/// Keeps back what all programs but one say and hear: how many bytes.
pub(crate) async fn stall(field: &mut Field) -> u64 {
    let held = |field: &Field| field.links.iter().map(workfleet_tests::Proxy::held_bytes).sum::<u64>();
    let before = held(field);
    during(field, Link::Stalled, STALLED).await;
    held(field) - before
}

/// Slows all links: how many bytes.
pub(crate) async fn slow(field: &mut Field) -> u64 {
    let slowed = |field: &Field| field.links.iter().map(workfleet_tests::Proxy::slowed_bytes).sum::<u64>();
    let before = slowed(field);
    during(field, Link::Slow(SLOW), SLOWED).await;
    slowed(field) - before
}

/// All links but one, a different one each time: what is done to all is noticed by all, and what is done to some is not.
async fn during(field: &mut Field, link: Link, time: Duration) {
    field.falls();
    let spared = rng().random_range(0..field.links.len());
    let others = || field.links.iter().enumerate().filter(|(at, _)| *at != spared).map(|(_, proxy)| proxy);
    others().for_each(|proxy| proxy.becomes(link));
    tokio::time::sleep(time).await;
    others().for_each(|proxy| proxy.becomes(Link::Up));
}

/// The disk is full until submits are refused; then there is room again, and the server is killed and returns.
pub(crate) async fn fill_disk(field: &mut Field, load: &Load) -> u64 {
    field.falls();
    let disk = field.disk.as_ref().expect("this row has a small disk");
    let before = load.repeated();
    disk.fill();
    let refused = async || (load.repeated() - before >= REFUSED_MIN).then_some(());
    eventually_within(PATIENCE, "a full disk refuses submits", refused).await;
    disk.free();
    let refused = load.repeated() - before;
    field.server().kill();
    field.server().restart().await;
    refused
}

async fn busy_worker(field: &Field) -> usize {
    let look = async || {
        let runs = field.stand.runs();
        let workers = &field.stand.workers;
        let busy: Vec<usize> =
            (0..workers.len()).filter(|at| runs::unfinished(&runs, workers[*at].pid()) > 0).collect();
        busy.choose(&mut rng()).copied()
    };
    eventually_within(PATIENCE, "a worker is busy", look).await
}
