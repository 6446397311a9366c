//! A handler that keeps its thread to itself for many leases, on a machine that has other things to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use workfleet_tests::{Fleet, Probe, eventually_within};

/// Longest time of the whole beyond that of the handler.
const MARGIN: Duration = Duration::from_secs(60);

/// How long the handlers keep their threads. `make crash-test` asks for the full form.
fn block_ms() -> u32 {
    if std::env::var("WORKFLEET_CRASH_TEST").as_deref() == Ok("full") { 60_000 } else { 20_000 }
}

/// Holds a processor for as long as it lives.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn start() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        Self(over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "the numbers are the point")]
async fn a_handler_that_blocks_for_many_leases_while_the_machine_is_busy_keeps_its_task() {
    let block_ms = block_ms();
    let fleet = Fleet::builder().probe(|queue| queue.lease("2s").timeout("300s")).workers("probe", 2).start().await;
    let _busy = Busy::start();
    // One that computes without a pause, and one that sleeps with its thread.
    let probes = [Probe::echo("computes").burns_ms(block_ms), Probe::echo("sleeps").blocks_ms(block_ms)];
    let mut ids = Vec::new();
    for probe in &probes {
        ids.push(fleet.submit(probe).await);
    }
    let limit = Duration::from_millis(block_ms.into()) + MARGIN;
    let ended = async || (fleet.observer.stores().await.len() == ids.len()).then_some(());
    eventually_within(limit, "both have ended", ended).await;
    let again: usize = ids.iter().map(|id| fleet.runs_of(id).len() - 1).sum();
    eprintln!("handlers that block their threads for {block_ms} ms under a lease of 2 s: {again} redeliveries");
    assert_eq!(again, 0);
    for id in &ids {
        assert_eq!(fleet.completed(id).await["attempt"], 1);
    }
}
