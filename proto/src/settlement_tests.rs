//! Each rule of settling, one by one; `tests/model` has them together.

use super::{
    Company, Deadline, Delivered, Ended, Generation, Lease, Look, Origin, Plan, Read, Recorded, Reply, Scheduled, Seen,
    Settlement, Step, Verdict, dead_letter_id, judge, plan,
};
use crate::v1::State;

const NEW: Delivered = Delivered {
    generation: Generation::FIRST,
    deliveries: 1,
    origin: Origin::Direct,
    check: false,
    result_sequence: 0,
};

fn recorded(state: State, run: u32) -> Seen {
    Seen { result: Some(Recorded { state, run }), latest_copy: None }
}

fn steps(plan: Plan, replies: &[Reply]) -> Vec<Step> {
    let mut settlement = Settlement::new(plan, &NEW);
    let mut steps = Vec::new();
    let mut replies = replies.iter();
    while let Some(step) = settlement.step(Lease::Held) {
        steps.push(step);
        settlement = settlement.after(*replies.next().unwrap_or(&Reply::Stored));
    }
    steps
}

#[test]
fn only_a_delivery_that_is_certainly_new_starts_without_a_look() {
    assert_eq!(NEW.look(), Look::No);
    assert_eq!(Delivered { deliveries: 2, ..NEW }.look(), Look::ResultAndCopies);
    assert_eq!(Delivered { origin: Origin::Carried, ..NEW }.look(), Look::Result);
    assert_eq!(Delivered { check: true, ..NEW }.look(), Look::Result);
    assert_eq!(Delivered { result_sequence: 9, ..NEW }.look(), Look::Result);
}

#[test]
fn a_look_follows_the_copies_and_reads_the_result_last() {
    assert_eq!(Look::No.reads(), []);
    assert_eq!(Look::Result.reads(), [Read::Result]);
    assert_eq!(Look::ResultAndCopies.reads(), [Read::Scheduled, Read::Due, Read::Queued, Read::Result]);
}

#[test]
fn an_attempt_is_the_headers_and_one_more_for_each_lost_delivery() {
    let generation = Generation { run: 1, attempt: 3, back: 0 };
    assert_eq!(Delivered { generation, deliveries: 2, ..NEW }.attempt(), 4);
}

#[test]
fn from_its_third_delivery_on_a_task_runs_alone() {
    assert_eq!(Delivered { deliveries: 2, ..NEW }.company(), Company::Shared);
    assert_eq!(Delivered { deliveries: 3, ..NEW }.company(), Company::Alone);
}

#[test]
fn a_task_that_has_ended_is_dropped_and_a_failed_one_completes_its_dead_letter() {
    for state in [State::Completed, State::Cancelled, State::Expired] {
        assert_eq!(judge(&NEW, 3, Deadline::Open, &recorded(state, 1)), Verdict::Drop);
    }
    assert_eq!(judge(&NEW, 3, Deadline::Open, &recorded(State::Failed, 1)), Verdict::FinishDeadLetter);
}

#[test]
fn a_copy_of_an_earlier_run_writes_no_dead_letter_for_a_later_one() {
    assert_eq!(judge(&NEW, 3, Deadline::Open, &recorded(State::Failed, 2)), Verdict::Drop);
    assert_eq!(judge(&NEW, 3, Deadline::Open, &recorded(State::Queued, 2)), Verdict::Drop);
}

#[test]
fn a_redriven_task_starts_on_the_mark_of_its_own_run() {
    let redriven = Delivered { generation: Generation::FIRST.redriven(), result_sequence: 7, ..NEW };
    assert_eq!(judge(&redriven, 3, Deadline::Open, &recorded(State::Queued, 2)), Verdict::Start);
}

#[test]
fn a_delivery_whose_retry_is_already_stored_is_dropped() {
    let retry = Generation::FIRST.retry_after(1);
    let seen = Seen { result: None, latest_copy: Some(retry) };
    assert_eq!(judge(&Delivered { deliveries: 2, ..NEW }, 3, Deadline::Open, &seen), Verdict::Drop);
    let same = Seen { result: None, latest_copy: Some(Generation::FIRST) };
    assert_eq!(judge(&Delivered { deliveries: 2, ..NEW }, 3, Deadline::Open, &same), Verdict::Start);
}

#[test]
fn attempts_used_up_by_crashes_fail_the_task_without_a_handler() {
    assert_eq!(judge(&Delivered { deliveries: 3, ..NEW }, 3, Deadline::Open, &Seen::default()), Verdict::Start);
    assert_eq!(judge(&Delivered { deliveries: 4, ..NEW }, 3, Deadline::Open, &Seen::default()), Verdict::Exhaust);
}

#[test]
fn every_copy_is_later_than_the_one_it_came_from() {
    let first = Generation::FIRST;
    assert!(first.retry_after(1) > first);
    assert!(first.handed_back(1) > first);
    assert!(first.handed_back(1).handed_back(1) > first.handed_back(1));
    assert!(first.handed_back(2) > first.handed_back(1), "handed back after a redelivery");
    assert!(first.retry_after(1) > first.handed_back(1));
    assert!(first.redriven() > first.retry_after(1_000));
}

#[test]
fn no_two_copies_share_a_message_id() {
    let id = "mail_01h455vb4pex5vsknk084sn02q".parse().expect("an id");
    let first = Generation::FIRST;
    assert_eq!(first.message_id(&id), "mail_01h455vb4pex5vsknk084sn02q/1/1");
    assert_eq!(first.redriven().handed_back(1).message_id(&id), "mail_01h455vb4pex5vsknk084sn02q/2/1/back1");
    assert_eq!(dead_letter_id(&id, 2), "mail_01h455vb4pex5vsknk084sn02q/2/dead");
}

#[test]
fn a_stale_attempt_may_only_record_success() {
    assert_eq!(plan(1, 3, Lease::Lapsed, Ended::Completed), Plan::Complete);
    for ended in [Ended::Retryable, Ended::Permanent, Ended::HandedBack] {
        assert_eq!(plan(1, 3, Lease::Lapsed, ended), Plan::Leave);
    }
}

#[test]
fn a_delivery_whose_lease_lapsed_before_its_start_is_left() {
    assert_eq!(Verdict::Start.plan(Lease::Held), None);
    assert_eq!(Verdict::Exhaust.plan(Lease::Held), Some(Plan::Fail));
    for verdict in [Verdict::Start, Verdict::FinishDeadLetter, Verdict::Exhaust] {
        assert_eq!(verdict.plan(Lease::Lapsed), Some(Plan::Leave));
    }
    assert_eq!(Verdict::Drop.plan(Lease::Lapsed), Some(Plan::Drop));
}

#[test]
fn a_lease_that_lapses_in_the_middle_stops_all_but_a_success() {
    for plan in [Plan::Fail, Plan::Retry, Plan::HandBack, Plan::FinishDeadLetter] {
        assert_eq!(Settlement::new(plan, &NEW).step(Lease::Lapsed), None, "{plan:?}");
    }
    let complete = Settlement::new(Plan::Complete, &NEW);
    assert_eq!(complete.step(Lease::Lapsed), Some(Step::StoreResult { expected: 0 }));
    assert_eq!(complete.after(Reply::Stored).step(Lease::Lapsed), Some(Step::Acknowledge));
    let failed = Settlement::new(Plan::Fail, &NEW).after(Reply::Stored);
    assert_eq!(failed.step(Lease::Held), Some(Step::StoreDeadLetter));
    assert_eq!(failed.step(Lease::Lapsed), None, "the next delivery completes it");
    let lost = complete.after(Reply::Lost(Some(Recorded { state: State::Failed, run: 1 })));
    assert_eq!(lost.step(Lease::Lapsed), None);
}

#[test]
fn a_retry_takes_the_place_of_an_earlier_schedule_and_never_of_a_later_one() {
    let retry = Step::StoreRetry { expected: 0 };
    let met = |generation| Reply::Taken(Some(Scheduled { generation, sequence: 9 }));
    let own = Generation::FIRST.retry_after(1);
    assert_eq!(steps(Plan::Retry, &[met(own)]), [retry, Step::Acknowledge]);
    assert_eq!(steps(Plan::Retry, &[met(own.retry_after(2))]), [retry, Step::Acknowledge]);
    assert_eq!(
        steps(Plan::Retry, &[met(Generation::FIRST)]),
        [retry, Step::StoreRetry { expected: 9 }, Step::Acknowledge]
    );
    assert_eq!(steps(Plan::Retry, &[Reply::Taken(None)]), [retry, retry, Step::Acknowledge]);
    let back = [0, 9].map(|expected| Step::StoreHandBack { expected });
    assert_eq!(steps(Plan::HandBack, &[met(Generation::FIRST)]), [back[0], back[1], Step::Acknowledge]);
    assert_eq!(steps(Plan::HandBack, &[met(own)]), [back[0], Step::Acknowledge]);
}

#[test]
fn the_last_attempt_is_not_retried() {
    assert_eq!(plan(2, 3, Lease::Held, Ended::Retryable), Plan::Retry);
    assert_eq!(plan(3, 3, Lease::Held, Ended::Retryable), Plan::Fail);
    assert_eq!(plan(1, 3, Lease::Held, Ended::Permanent), Plan::Fail);
    assert_eq!(plan(3, 3, Lease::Held, Ended::HandedBack), Plan::HandBack);
}

#[test]
fn the_result_comes_first_the_dead_letter_second_the_acknowledgement_last() {
    let result = Step::StoreResult { expected: 0 };
    assert_eq!(steps(Plan::Complete, &[]), [result, Step::Acknowledge]);
    assert_eq!(steps(Plan::Fail, &[]), [result, Step::StoreDeadLetter, Step::Acknowledge]);
    assert_eq!(steps(Plan::Retry, &[]), [Step::StoreRetry { expected: 0 }, Step::Acknowledge]);
    assert_eq!(steps(Plan::HandBack, &[]), [Step::StoreHandBack { expected: 0 }, Step::Acknowledge]);
    assert_eq!(steps(Plan::Leave, &[]), []);
}

#[test]
fn what_is_unclear_is_tried_again_and_never_taken_for_a_loss() {
    let result = Step::StoreResult { expected: 0 };
    assert_eq!(steps(Plan::Complete, &[Reply::Unclear, Reply::Stored]), [result, result, Step::Acknowledge]);
}

#[test]
fn who_loses_reads_the_winner_and_completes_its_dead_letter_where_it_failed() {
    let result = Step::StoreResult { expected: 0 };
    let won_by = |state, run| Reply::Lost(Some(Recorded { state, run }));
    assert_eq!(steps(Plan::Fail, &[won_by(State::Completed, 1)]), [result, Step::Acknowledge]);
    assert_eq!(steps(Plan::Complete, &[won_by(State::Failed, 1)]), [result, Step::StoreDeadLetter, Step::Acknowledge]);
    assert_eq!(steps(Plan::Complete, &[won_by(State::Failed, 2)]), [result, Step::Acknowledge]);
    assert_eq!(steps(Plan::Complete, &[Reply::Lost(None)]), [result, result, Step::Acknowledge]);
}
