//! A handler that keeps its thread to itself for many leases, on a machine that has other things to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use workfleet_proto::names::{Lane, Names};
use workfleet_tests::{Fleet, Probe, eventually_within};

/// Longest time of the whole beyond that of the handler.
const MARGIN: Duration = Duration::from_secs(60);

/// Threads for handlers in each worker.
const THREADS: usize = 2;
const SLOTS: usize = 4;

/// How long the handlers keep their threads. `make crash-test` asks for the full form.
fn block_ms() -> u32 {
    if std::env::var("WORKFLEET_CRASH_TEST").as_deref() == Ok("full") { 60_000 } else { 10_000 }
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
    let builder = Fleet::builder().probe(|queue| queue.lease("2s").timeout("300s")).workers("probe", 2).slots(SLOTS);
    // So few threads for handlers that at least one worker has none left, and a slot for what is delivered again.
    let fleet = builder.variable("TOKIO_WORKER_THREADS", &THREADS.to_string()).start().await;
    let _busy = Busy::start();
    // Some compute without a pause, and some sleep with their threads.
    let probes = [Probe::echo("computes").burns_ms(block_ms), Probe::echo("sleeps").blocks_ms(block_ms)];
    let mut ids = Vec::new();
    for probe in probes.iter().cycle().take(2 * THREADS) {
        ids.push(fleet.submit(probe).await);
    }
    // Where one worker has them all, half of them wait for the others.
    let limit = 2 * Duration::from_millis(block_ms.into()) + MARGIN;
    let ended = async || (fleet.observer.stores().await.len() == ids.len()).then_some(());
    eventually_within(limit, "all have ended", ended).await;
    // Counted by the server: what is delivered again to a worker without a free thread, or without a slot, starts no handler.
    let again = deliveries(&fleet).await - ids.len() as u64;
    eprintln!("handlers that block their threads for {block_ms} ms under a lease of 2 s: {again} redeliveries");
    assert_eq!(again, 0);
    for id in &ids {
        assert_eq!(fleet.completed(id).await["attempt"], 1);
    }
}

/// How many deliveries there were.
async fn deliveries(fleet: &Fleet) -> u64 {
    let stream = fleet.jetstream().await.get_stream("TASKS_probe").await.expect("a stream");
    let consumer = Names::default().work_consumer(Lane::DEFAULT);
    stream.consumer_info(consumer).await.expect("a consumer").delivered.consumer_sequence
}
