//! One row: warm up, strike, recover, count.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use workfleet_tests::eventually_within;

use crate::ROWS;
use crate::audit;
use crate::field::{Field, Ground};
use crate::form::{self, Form};
use crate::load::{Load, Submitted};
use crate::table;
use crate::verdict::{self, Verdict};

/// Full speed is waited for so long after the last blow; what comes later is told as never.
const RECOVERY_TIME_MAX: Duration = Duration::from_secs(60);
/// Tasks of the full form, on a machine that does nothing else, take a tenth of it.
const ACCEPTED_TIME_MAX: Duration = Duration::from_secs(300);
/// A fleet that does so little a second before the fault proves nothing after it.
const RATE_MIN: f64 = 1.0;

/// Tasks without an end whose story is told.
const LOST_TOLD_MAX: usize = 20;

/// One at a time: rates are compared, and machines are small.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

/// A fault, and where it strikes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    place: usize,
    fault: &'static str,
    /// What is counted of it.
    counts: &'static str,
    ground: Ground,
    /// Of the full form.
    strikes: usize,
}

impl Row {
    pub(crate) fn new(place: usize, fault: &'static str, counts: &'static str, ground: Ground) -> Self {
        Self { place, fault, counts, ground, strikes: 1 }
    }

    pub(crate) fn strikes(self, strikes: usize) -> Self {
        Self { strikes, ..self }
    }
}

/// Runs it, tells of it, and makes sure of the promises.
#[allow(clippy::print_stderr, reason = "the numbers are what it is run for")]
pub(crate) async fn run(row: Row, strike: impl AsyncFnMut(&mut Field, &Load) -> u64) {
    let _turn = TURN.lock().await;
    let begun = Instant::now();
    let Some(mut field) = Field::start(row.ground).await else {
        eprintln!("{}: skipped, since this user may not mount a small disk here", row.fault);
        let line = format!("| {} | {} | skipped: no small disk could be mounted |", row.fault, row.ground.servers());
        table::keep(row.place, line, full_rows());
        return;
    };
    let load = Load::start(field.stand.edges(), field.stand.runs_file(), field.pace.clone()).await;
    let (struck, recovered, rate) = strike_and_recover(row, &mut field, &load, strike).await;
    let repeated = load.repeated();
    let submitted = load.stop().await;
    verdict::quiet(&field.jetstream().await).await;
    // A drained worker has settled all that it will ever settle.
    for worker in &mut field.stand.workers {
        worker.ready().await;
        worker.drain().await;
    }
    let verdict = verdict::of(&field, &submitted.ledger).await;
    let audit = audit::of(&field).await;
    if !verdict.lost.is_empty() {
        eprintln!("    {audit:?}\n    all files of this row are kept in {}", field.keep().display());
    }
    let speed = recovered.map_or("never".to_owned(), |after| format!("{:.1} s", after.as_secs_f64()));
    let line = line(row, struck, &verdict, &speed);
    eprintln!(
        "{line}\n    {rate:.0} results a second before, {repeated} requests repeated, {} messages of results replaced, \
         {:.0} s in all",
        verdict.replaced,
        begun.elapsed().as_secs_f64()
    );
    table::keep(row.place, line, full_rows());
    for lost in verdict.lost.iter().take(LOST_TOLD_MAX) {
        eprintln!("    without an end: {lost}: {}", story(&field, &submitted, lost));
    }
    assert!(struck > 0, "{}: it never struck", row.fault);
    assert!(submitted.surprises.is_empty(), "{:#?}", submitted.surprises);
    hold(&verdict);
    // The row that fills the disk has submits that are refused for good, whose keys are taken back.
    assert!(verdict.replaced == 0 || row.ground == Ground::SmallDisk, "{} results were replaced", verdict.replaced);
    audit.agrees_with(&verdict);
}

fn full_rows() -> Option<usize> {
    form::is_full().then_some(ROWS)
}

/// What is known of a task that has no end.
fn story(field: &Field, submitted: &Submitted, id: &str) -> String {
    let accepted = submitted.ledger.iter().find(|accepted| accepted.id == id);
    let runs: Vec<_> = field.stand.runs().into_iter().filter(|run| run.task == id).collect();
    format!("{accepted:?} {runs:?}")
}

/// The promises.
#[track_caller]
fn hold(verdict: &Verdict) {
    assert!(verdict.accepted >= Form::chosen().tasks_min, "only {} tasks were accepted", verdict.accepted);
    assert!(verdict.lost.is_empty(), "lost: {:#?}", verdict.lost);
    assert!(verdict.twice.is_empty(), "recorded twice: {:#?}", verdict.twice);
    assert!(verdict.wrong.is_empty(), "ended as they cannot: {:#?}", verdict.wrong);
    let ended = verdict.completed + verdict.failed + verdict.cancelled + verdict.expired;
    assert_eq!(ended, verdict.accepted, "every accepted task has one end");
}

/// Gives how often it struck, when full speed was back after the last blow, and what that was a second.
async fn strike_and_recover(
    row: Row,
    field: &mut Field,
    load: &Load,
    mut strike: impl AsyncFnMut(&mut Field, &Load) -> u64,
) -> (u64, Option<Duration>, f64) {
    let form = Form::chosen();
    let pace = field.pace.clone();
    let fast = async || (pace.rate_before(Instant::now()) > RATE_MIN).then_some(());
    eventually_within(RECOVERY_TIME_MAX, "tasks end", fast).await;
    tokio::time::sleep(form.warm_up).await;
    let rate = pace.rate_before(Instant::now());
    let mut struck = strike(field, load).await;
    for _ in 1..form.strikes(row.strikes) {
        tokio::time::sleep(form.pause).await;
        struck += strike(field, load).await;
    }
    let last = Instant::now();
    let recovered = loop {
        let recovered = pace.recovered_after(field.blow, rate);
        if recovered.is_some() || last.elapsed() > RECOVERY_TIME_MAX {
            break recovered;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    let many = async || (load.accepted() >= form.tasks_min).then_some(());
    eventually_within(ACCEPTED_TIME_MAX, "so many tasks are accepted", many).await;
    (struck, recovered, rate)
}

fn line(row: Row, struck: u64, verdict: &Verdict, speed: &str) -> String {
    let mut line = format!("| {} | {} | {struck} {} ", row.fault, row.ground.servers(), row.counts);
    let counts = [
        verdict.accepted,
        verdict.completed,
        verdict.failed,
        verdict.cancelled,
        verdict.expired,
        verdict.lost.len(),
        verdict.twice.len(),
        verdict.executions_more,
    ];
    for count in counts {
        let _ = write!(line, "| {count} ");
    }
    let _ = write!(line, "| {speed} |");
    line
}
