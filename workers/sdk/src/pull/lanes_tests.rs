//! Rule 8, and what happens to a pull that nobody answers.

use std::time::{Duration, Instant};

use super::{Answer, Lanes, Wait};

/// Answers requests from these backlogs at once, and counts what each lane got.
fn serve(lanes: &mut Lanes, backlog: &mut [usize], slots: usize, now: Instant) -> Vec<usize> {
    let mut got = vec![0; backlog.len()];
    let mut held = 0;
    loop {
        let asks = lanes.asks(slots - held, now);
        if asks.is_empty() {
            return got;
        }
        for ask in asks {
            let come = ask.batch.min(backlog[ask.lane]);
            for _ in 0..come {
                lanes.delivered(ask.lane);
            }
            backlog[ask.lane] -= come;
            got[ask.lane] += come;
            held += come;
            assert!(held <= slots, "more than the free slots");
            if come < ask.batch && ask.wait == Wait::No {
                lanes.answered(ask.lane, ask.serial, Answer::Empty, now);
            }
        }
    }
}

#[test]
fn one_lane_asks_for_exactly_the_free_slots() {
    let (mut lanes, now) = (Lanes::new(1), Instant::now());
    let asks = lanes.asks(3, now);
    assert_eq!((asks.len(), asks[0].batch), (1, 3));
    assert_eq!(lanes.asks(3, now), [], "they are asked for already");
    lanes.delivered(0);
    assert_eq!(lanes.asks(2, now), [], "the other two are still asked for");
    lanes.delivered(0);
    lanes.delivered(0);
    assert_eq!(lanes.asks(0, now), [], "no slot is free");
    assert_eq!(lanes.asks(1, now)[0].batch, 1);
}

#[test]
fn a_worker_with_one_slot_never_asks_for_two_whatever_its_lanes() {
    let (mut lanes, now) = (Lanes::new(3), Instant::now());
    for _ in 0..20 {
        let got = serve(&mut lanes, &mut [0, 0, 0], 1, now);
        assert_eq!(got.iter().sum::<usize>(), 0);
        let asked: usize =
            lanes.lanes.iter().filter_map(|lane| lane.request.as_ref()).map(|request| request.left).sum();
        assert_eq!(asked, 1);
        let (lane, serial) = bell(&lanes);
        lanes.answered(lane, serial, Answer::Empty, now);
    }
}

fn bell(lanes: &Lanes) -> (usize, u64) {
    let found = lanes.lanes.iter().enumerate().find_map(|(place, lane)| Some((place, lane.request.as_ref()?.serial)));
    found.expect("a bell is out")
}

#[test]
fn idle_lanes_take_turns_where_there_are_fewer_slots() {
    let (mut lanes, now) = (Lanes::new(3), Instant::now());
    let mut waited = [false; 3];
    for _ in 0..3 {
        serve(&mut lanes, &mut [0, 0, 0], 1, now);
        let (lane, serial) = bell(&lanes);
        waited[lane] = true;
        lanes.answered(lane, serial, Answer::Empty, now);
    }
    assert_eq!(waited, [true; 3]);
}

#[test]
fn urgent_lanes_go_first_and_none_starves() {
    let (mut lanes, now) = (Lanes::new(3), Instant::now());
    let mut got = [0; 3];
    let mut backlog = [1_000, 1_000, 1_000];
    for _ in 0..160 {
        let round = serve(&mut lanes, &mut backlog, 1, now);
        (0..3).for_each(|lane| got[lane] += round[lane]);
    }
    assert_eq!(got.iter().sum::<usize>(), 160);
    assert!(got[0] > 2 * got[1] && got[1] > got[2] && got[2] >= 8, "{got:?}");
}

#[test]
fn a_lane_with_a_backlog_gets_every_slot_while_the_others_are_empty() {
    let (mut lanes, now) = (Lanes::new(3), Instant::now());
    assert_eq!(serve(&mut lanes, &mut [0, 0, 50], 8, now), [0, 0, 8]);
}

#[test]
fn a_refused_lane_pauses_longer_each_time_and_an_answer_ends_that() {
    let (mut lanes, mut now) = (Lanes::new(1), Instant::now());
    let mut pauses = Vec::new();
    for _ in 0..7 {
        let ask = lanes.asks(1, now)[0];
        lanes.answered(0, ask.serial, Answer::Refused, now);
        let until = lanes.lanes[0].paused_until.expect("a pause");
        assert_eq!(lanes.asks(1, now), []);
        pauses.push((until - now).as_millis());
        now = until;
    }
    assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000]);
    let ask = lanes.asks(1, now)[0];
    lanes.answered(0, ask.serial, Answer::Empty, now);
    assert_eq!(lanes.lanes[0].refusals, 0);
}

#[test]
fn the_first_request_on_a_connection_is_answered_at_once() {
    let (mut lanes, now) = (Lanes::new(1), Instant::now());
    for _ in 0..2 {
        let first = lanes.asks(1, now)[0];
        assert_eq!(first.wait, Wait::No);
        lanes.answered(0, first.serial, Answer::Empty, now);
        assert!(matches!(lanes.asks(1, now)[0].wait, Wait::Long(_)));
        lanes.forget();
    }
}

#[test]
fn a_pull_that_goes_silent_is_noticed_and_one_with_heartbeats_is_not() {
    let (mut lanes, start) = (Lanes::new(1), Instant::now());
    let first = lanes.asks(1, start)[0];
    lanes.answered(0, first.serial, Answer::Empty, start);
    let ask = lanes.asks(1, start)[0];
    let at = |seconds| start + Duration::from_secs(seconds);
    lanes.answered(0, ask.serial, Answer::Alive, at(4));
    assert_eq!(lanes.silent(at(7)), Vec::<usize>::new());
    assert_eq!(lanes.silent(at(11)), [0]);
    assert_eq!(lanes.silent(at(12)), Vec::<usize>::new());
    lanes.answered(0, ask.serial, Answer::Empty, at(12));
    assert!(lanes.lanes[0].paused_until.is_some(), "a late answer does not count");
}
