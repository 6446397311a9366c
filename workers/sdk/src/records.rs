//! What is stored of an attempt: results, dead letters, and the task's next copies. Pure: clocks and random numbers are
//! arguments.

use std::time::Duration;

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use prost::Message as _;
use workfleet_link::pipeline::Publish;
use workfleet_link::time::rfc3339_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::limits::{ATTEMPTS_KEPT_MAX, TRACE_DELAY_MS_MAX};
use workfleet_proto::names::{Names, header};
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1::{self, Attempt, DeadLetter, Envelope, Failure, State};
use workfleet_proto::wire::{CopyHeaders, TraceMode};

use crate::output::Output;
use crate::station::{code, duration_ms};
use crate::task::Held;

/// A later copy of a task.
#[derive(Debug)]
pub(crate) enum Copy {
    /// Due now.
    Due(Publish),
    /// Due when its schedule fires.
    Scheduled(Publish),
}

/// One attempt in this worker.
#[derive(Debug, Clone)]
pub(crate) struct Ran<'a> {
    pub(crate) held: &'a Held,
    pub(crate) worker: &'a str,
    /// Absent where no handler was started.
    pub(crate) started_at_ms: Option<i64>,
    pub(crate) ended_at_ms: i64,
    /// Every child of this run, those of earlier attempts included.
    pub(crate) children: Vec<TaskId>,
}

impl Ran<'_> {
    /// The record of a task that ended with an output.
    pub(crate) fn completed(&self, output: Output, schema: &str) -> v1::Result {
        let (output, blob) = match output {
            Output::Inline(output) => (output, None),
            Output::Stored(blob) => (Bytes::new(), Some(blob)),
        };
        let attempts = kept(self.earlier());
        v1::Result { output, blob, schema: schema.to_owned(), attempts, ..self.result(State::Completed) }
    }

    /// The record of a task that failed for good.
    pub(crate) fn failed(&self, failure: Failure) -> v1::Result {
        let attempts = self.attempts(&failure);
        v1::Result { failure: Some(failure), attempts, ..self.result(State::Failed) }
    }

    /// The record of a task whose deadline passed. Where no handler was started, the attempt that this delivery would have
    /// been did not begin, and the one before it was the last: as dispatchers record it, which expire a task that waits.
    pub(crate) fn expired(&self) -> v1::Result {
        let message = "its deadline passed before it ended".to_owned();
        let failure = Failure { code: code::EXPIRED.to_owned(), message };
        let attempts = self.attempts(&failure);
        let mut record = self.result(State::Expired);
        if self.started_at_ms.is_none() {
            record.attempt = self.held.attempt().saturating_sub(1).min(self.held.attempts_max());
            // When an attempt began that left nothing, nobody knows.
            let last = attempts.last().map(|attempt| attempt.started_at_ms);
            record.started_at_ms = last.filter(|started_at_ms| *started_at_ms > 0);
        }
        v1::Result { failure: Some(failure), attempts, ..record }
    }

    fn result(&self, state: State) -> v1::Result {
        let envelope = &self.held.envelope;
        v1::Result {
            id: self.held.id.to_string(),
            state: state.into(),
            run: self.held.copy.generation.run,
            // Attempts beyond the last were never started.
            attempt: self.held.attempt().min(self.held.attempts_max()),
            attempts_max: self.held.attempts_max(),
            submitted_at_ms: envelope.submitted_at_ms,
            not_before_ms: envelope.not_before_ms,
            started_at_ms: self.started_at_ms,
            ended_at_ms: self.ended_at_ms,
            deadline_ms: envelope.deadline_ms,
            worker: self.worker.to_owned(),
            trace_id: envelope.trace_id.clone(),
            parent_id: envelope.parent_id.clone(),
            labels: envelope.labels.clone(),
            ordering_key: envelope.ordering_key.clone(),
            tenant: envelope.tenant.clone(),
            lane: self.held.lane.to_string(),
            children: self.children(),
            ..Default::default()
        }
    }

    fn children(&self) -> Vec<String> {
        self.children.iter().map(ToString::to_string).collect()
    }

    /// The attempts before this one, and this one: the last ten.
    fn attempts(&self, failure: &Failure) -> Vec<Attempt> {
        let mut attempts = self.earlier();
        attempts.extend(self.started_at_ms.map(|started_at_ms| Attempt {
            attempt: self.held.attempt(),
            started_at_ms,
            ended_at_ms: self.ended_at_ms,
            worker: self.worker.to_owned(),
            code: failure.code.clone(),
            message: failure.message.clone(),
        }));
        kept(attempts)
    }

    /// The attempts before this one: those that left a failure, and those that left nothing.
    fn earlier(&self) -> Vec<Attempt> {
        let mut attempts = self.held.envelope.attempts.clone();
        attempts.extend(self.held.lost());
        attempts
    }

    /// A wait that does not go beyond the task's deadline. What would be tried again only then is there when the deadline
    /// passes, and expires with its failures, and not before: until then its caller may still cancel it.
    pub(crate) fn before_deadline(&self, delay: Duration) -> Duration {
        let left_ms = self.held.envelope.deadline_ms.map(|deadline_ms| deadline_ms.saturating_sub(self.ended_at_ms));
        left_ms.map_or(delay, |left_ms| delay.min(duration_ms(left_ms)))
    }

    /// The schedule of the next attempt.
    pub(crate) fn retry(&self, names: &Names, failure: &Failure, delay: Duration) -> Copy {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        let attempts = self.attempts(failure);
        let envelope = Envelope { attempts, children: self.children(), ..self.held.envelope.clone() };
        let trace = if delay_ms > TRACE_DELAY_MS_MAX { TraceMode::Linked } else { self.held.copy.trace };
        let copy = CopyHeaders {
            generation: self.held.copy.generation.retry_after(self.held.attempt()),
            schema_backs: 0,
            due_ms: self.ended_at_ms.saturating_add(delay_ms),
            trace,
            ..self.held.copy.clone()
        };
        schedule(names, self.held, &copy, &envelope)
    }

    /// The same task once more, its attempt not spent: due now, or after a while.
    pub(crate) fn hand_back(&self, names: &Names, delay: Duration) -> Copy {
        self.back(names, delay, self.held.copy.schema_backs)
    }

    /// The same where this worker does not know the task's schema, which is counted apart.
    pub(crate) fn hand_back_unknown(&self, names: &Names, delay: Duration) -> Copy {
        self.back(names, delay, self.held.copy.schema_backs.saturating_add(1))
    }

    fn back(&self, names: &Names, delay: Duration, schema_backs: u32) -> Copy {
        let delay_ms = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
        let copy = CopyHeaders {
            generation: self.held.copy.generation.handed_back(self.held.attempt()),
            schema_backs,
            due_ms: self.ended_at_ms.saturating_add(delay_ms),
            ..self.held.copy.clone()
        };
        let attempts = kept(self.earlier());
        let envelope = Envelope { attempts, children: self.children(), ..self.held.envelope.clone() };
        if delay.is_zero() {
            let subject = names.delay_due(&self.held.id, self.held.lane);
            return Copy::Due(publish(subject, self.held, &copy, &envelope));
        }
        schedule(names, self.held, &copy, &envelope)
    }
}

/// The last ten.
fn kept(mut attempts: Vec<Attempt>) -> Vec<Attempt> {
    attempts.split_off(attempts.len().saturating_sub(ATTEMPTS_KEPT_MAX))
}

/// The record that keeps a failed task. It died when its result says so, and not now: whoever completes a letter, perhaps
/// a second time, writes the same.
pub(crate) fn dead_letter(result: v1::Result, held: &Held) -> DeadLetter {
    let dead_at_ms = result.ended_at_ms;
    let failure = result.failure.clone().unwrap_or_default();
    let reason = format!("{} in attempt {} of {}", failure.code, result.attempt, result.attempts_max);
    // A redriven run has children of its own; the result tells which this one had.
    let envelope = Envelope { children: Vec::new(), ..held.envelope.clone() };
    DeadLetter { result: Some(result), envelope: Some(envelope), dead_at_ms, reason, payload_missing: false }
}

/// What is left of a result that is too large for a message: how the task ended, without what others had said about it.
pub(crate) fn bare(result: &v1::Result) -> v1::Result {
    v1::Result {
        output: Bytes::new(),
        attempts: Vec::new(),
        labels: Default::default(),
        trace_id: String::new(),
        parent_id: None,
        ordering_key: None,
        tenant: None,
        ..result.clone()
    }
}

/// The next smaller form of a dead letter that is too large for a message: without the payload, then without anything
/// that others had said. A payload that is a blob stays named for as long as that fits. `None`: there is none.
pub(crate) fn smaller(letter: &DeadLetter) -> Option<DeadLetter> {
    let envelope = letter.envelope.as_ref()?;
    if !envelope.payload.is_empty() {
        let envelope = Envelope { payload: Bytes::new(), ..envelope.clone() };
        let reason = format!("{}; the payload was too large to be kept", letter.reason);
        return Some(DeadLetter { envelope: Some(envelope), reason, payload_missing: true, ..letter.clone() });
    }
    let redrivable = Some(bare_envelope(envelope)).filter(|bare| bare.blob.is_some() && bare != envelope);
    Some(DeadLetter { envelope: redrivable, result: letter.result.as_ref().map(bare), ..letter.clone() })
}

/// What is left of an envelope that is too large for a message: what a redrive needs.
fn bare_envelope(envelope: &Envelope) -> Envelope {
    Envelope {
        attempts: Vec::new(),
        labels: Default::default(),
        trace_id: String::new(),
        parent_id: None,
        ordering_key: None,
        tenant: None,
        children: Vec::new(),
        ..envelope.clone()
    }
}

/// Headers of a message about a task: the trace context of the copy it came from.
fn traced(held: &Held) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [header::TRACEPARENT, header::TRACESTATE] {
        if let Some(value) = held.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
    headers
}

fn publish(subject: String, held: &Held, copy: &CopyHeaders, envelope: &Envelope) -> Publish {
    let mut headers = traced(held);
    for (name, value) in copy.pairs() {
        // Nothing that came in as a header can fail to go out as one.
        if let Ok(value) = value.parse::<HeaderValue>() {
            headers.insert(name, value);
        }
    }
    let message_id = Generation::message_id(copy.generation, &held.id);
    let payload = envelope.encode_to_vec().into();
    Publish { headers, message_id: Some(message_id), ..Publish::new(subject, payload) }
}

fn schedule(names: &Names, held: &Held, copy: &CopyHeaders, envelope: &Envelope) -> Copy {
    let mut message = publish(names.delay_at(&held.id), held, copy, envelope);
    message.headers.insert(header::SCHEDULE, format!("@at {}", rfc3339_ms(copy.due_ms)));
    message.headers.insert(header::SCHEDULE_TARGET, names.delay_due(&held.id, held.lane));
    Copy::Scheduled(message)
}

#[cfg(test)]
mod tests {
    use super::{Copy, Ran, dead_letter};
    use crate::output::Output;
    use crate::station::code;
    use crate::task::tests::held;
    use bytes::Bytes;
    use prost::Message as _;
    use std::time::Duration;
    use workfleet_link::broker::NatsHeaders;
    use workfleet_link::pipeline::Publish;
    use workfleet_proto::id::TaskId;
    use workfleet_proto::names::{Names, header};
    use workfleet_proto::settlement::Generation;
    use workfleet_proto::v1::{self, Blob, Envelope, Failure, State};
    use workfleet_proto::wire::{CopyHeaders, TraceMode};

    fn scheduled(copy: Copy) -> Publish {
        let Copy::Scheduled(message) = copy else { panic!("due at once") };
        message
    }

    fn failure() -> Failure {
        Failure { code: "error".to_owned(), message: "no route".to_owned() }
    }

    #[test]
    fn a_retry_is_a_schedule_that_brings_the_next_attempt_and_remembers_this_one() {
        let held = held();
        let ran =
            Ran { held: &held, worker: "w", started_at_ms: Some(1_000), ended_at_ms: 2_000, children: Vec::new() };
        let retry = scheduled(ran.retry(&Names::default(), &failure(), Duration::from_secs(3)));
        let copy = CopyHeaders::read(&NatsHeaders(&retry.headers)).expect("our headers");
        assert_eq!(copy.generation, Generation { run: 1, attempt: 4, back: 0 });
        assert_eq!((copy.due_ms, copy.trace), (5_000, TraceMode::Child));
        assert_eq!(retry.message_id.as_deref(), Some("mail_01h455vb4pex5vsknk084sn02q/1/4"));
        let at = retry.headers.get(header::SCHEDULE).expect("a schedule");
        assert_eq!(at.as_str(), "@at 1970-01-01T00:00:05.000Z");
        let envelope = Envelope::decode(retry.payload).expect("an envelope");
        let told = |attempt: &v1::Attempt| (attempt.attempt, attempt.code.clone(), attempt.started_at_ms);
        let lost = (2, code::WORKER_LOST.to_owned(), 0);
        assert_eq!(envelope.attempts.iter().map(told).collect::<Vec<_>>(), [lost, (3, "error".to_owned(), 1_000)]);
    }

    #[test]
    fn nothing_is_tried_again_beyond_the_deadline() {
        let mut held = held();
        held.envelope.deadline_ms = Some(5_000);
        let ran =
            |ended_at_ms| Ran { held: &held, worker: "w", started_at_ms: None, ended_at_ms, children: Vec::new() };
        let wait = |ended_at_ms, seconds| ran(ended_at_ms).before_deadline(Duration::from_secs(seconds));
        assert_eq!((wait(2_000, 2), wait(2_000, 60)), (Duration::from_secs(2), Duration::from_secs(3)));
        assert_eq!(wait(9_000, 60), Duration::ZERO);
    }

    #[test]
    fn an_attempt_that_was_not_begun_before_the_deadline_is_not_counted() {
        let mut held = held();
        let expired = |held: &crate::task::Held, started_at_ms| {
            let record = Ran { held, worker: "w", started_at_ms, ended_at_ms: 9, children: Vec::new() }.expired();
            (record.attempt, record.started_at_ms, record.attempts.len())
        };
        assert_eq!(expired(&held, Some(7)), (3, Some(7), 2));
        assert_eq!(expired(&held, None), (2, None, 1), "when the one that was lost began, nobody knows");
        held.copy.generation = Generation::FIRST;
        held.delivered.generation = Generation::FIRST;
        held.delivered.deliveries = 1;
        assert_eq!(expired(&held, None), (0, None, 0));
    }

    #[test]
    fn attempts_that_left_nothing_are_part_of_the_history_and_end_with_the_last_that_may_be() {
        let mut held = held();
        held.delivered.deliveries = 9;
        let ran = Ran { held: &held, worker: "w", started_at_ms: None, ended_at_ms: 2, children: Vec::new() };
        let record = ran.failed(failure());
        let attempts: Vec<u32> = record.attempts.iter().map(|attempt| attempt.attempt).collect();
        assert_eq!((attempts, record.attempt), (vec![2, 3, 4, 5], 5));
        assert!(record.attempts.iter().all(|attempt| attempt.code == code::WORKER_LOST && attempt.worker.is_empty()));
    }

    #[test]
    fn a_copy_that_is_handed_back_remembers_with_whom_its_workers_were_lost() {
        let held = held();
        let ran = Ran { held: &held, worker: "w", started_at_ms: None, ended_at_ms: 7, children: Vec::new() };
        let Copy::Due(back) = ran.hand_back(&Names::default(), Duration::ZERO) else { panic!("not due") };
        let envelope = Envelope::decode(back.payload).expect("an envelope");
        assert_eq!(envelope.attempts.iter().map(|attempt| attempt.attempt).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_retry_after_long_starts_a_trace_of_its_own() {
        let held = held();
        let ran = Ran { held: &held, worker: "w", started_at_ms: Some(0), ended_at_ms: 0, children: Vec::new() };
        let retry = scheduled(ran.retry(&Names::default(), &failure(), Duration::from_secs(61)));
        assert_eq!(retry.headers.get(header::TRACE).map(async_nats::HeaderValue::as_str), Some("link"));
    }

    #[test]
    fn handing_back_spends_no_attempt_and_is_due_at_once() {
        let held = held();
        let ran = Ran { held: &held, worker: "w", started_at_ms: None, ended_at_ms: 7, children: Vec::new() };
        let Copy::Due(back) = ran.hand_back(&Names::default(), Duration::ZERO) else { panic!("not due") };
        assert_eq!(back.subject, "wf.delay.due.mail.q.m.mail_01h455vb4pex5vsknk084sn02q");
        let copy = CopyHeaders::read(&NatsHeaders(&back.headers)).expect("our headers");
        assert_eq!(copy.generation, Generation { run: 1, attempt: 3, back: 1 });
        let later = scheduled(ran.hand_back(&Names::default(), Duration::from_secs(1)));
        assert!(later.headers.get(header::SCHEDULE).is_some());
    }

    #[test]
    fn hand_backs_for_an_unknown_schema_are_counted_apart_and_for_one_attempt() {
        let mut held = held();
        held.copy.schema_backs = 7;
        let ran = Ran { held: &held, worker: "w", started_at_ms: Some(1), ended_at_ms: 7, children: Vec::new() };
        let (names, delay) = (Names::default(), Duration::from_secs(1));
        let copies =
            [ran.hand_back(&names, delay), ran.hand_back_unknown(&names, delay), ran.retry(&names, &failure(), delay)];
        let counts = copies
            .map(|copy| CopyHeaders::read(&NatsHeaders(&scheduled(copy).headers)).expect("our headers").schema_backs);
        assert_eq!(counts, [7, 8, 0]);
    }

    #[test]
    fn ten_attempts_are_remembered() {
        let mut held = held();
        let ran = |held: &crate::task::Held| {
            let ran = Ran { held, worker: "w", started_at_ms: Some(1), ended_at_ms: 2, children: Vec::new() };
            ran.failed(failure()).attempts
        };
        for _ in 0..12 {
            held.envelope.attempts = ran(&held);
        }
        assert_eq!(ran(&held).len(), 10);
    }

    #[test]
    fn children_go_along_with_every_copy_and_record_but_not_into_a_redriven_run() {
        let mut held = held();
        let children: Vec<TaskId> = ["a", "b"].map(|key| TaskId::keyed(&held.id.queue(), key, None)).to_vec();
        let told: Vec<String> = children.iter().map(ToString::to_string).collect();
        held.envelope.children = told[..1].to_vec();
        let ran = Ran { held: &held, worker: "w", started_at_ms: Some(1), ended_at_ms: 2, children };
        let copies = [
            scheduled(ran.retry(&Names::default(), &failure(), Duration::from_secs(3))),
            scheduled(ran.hand_back(&Names::default(), Duration::from_secs(3))),
        ];
        for copy in copies {
            assert_eq!(Envelope::decode(copy.payload).expect("an envelope").children, told);
        }
        assert_eq!(ran.completed(Output::Inline(Bytes::new()), "").children, told);
        let letter = dead_letter(ran.failed(failure()), &held);
        assert_eq!(letter.result.map(|result| result.children), Some(told));
        assert_eq!(letter.envelope.map(|envelope| envelope.children), Some(Vec::new()));
    }

    #[test]
    fn a_dead_letter_that_must_be_smaller_names_its_payload_to_the_last() {
        let mut held = held();
        held.envelope.blob = Some(Blob { name: "in.x".to_owned(), ..Default::default() });
        held.envelope.tenant = Some("wordy".to_owned());
        let ran = Ran { held: &held, worker: "w", started_at_ms: Some(1), ended_at_ms: 2, children: Vec::new() };
        let letter = dead_letter(ran.failed(failure()), &held);
        let smaller = super::smaller(&letter).expect("a smaller one");
        let envelope = smaller.envelope.as_ref().expect("what a redrive needs");
        assert_eq!((&envelope.blob, &envelope.tenant, envelope.attempts_max), (&held.envelope.blob, &None, 5));
        let smallest = super::smaller(&smaller).expect("the smallest");
        assert_eq!((&smallest.envelope, super::smaller(&smallest)), (&None, None));
    }

    #[test]
    fn a_dead_letter_says_why_in_one_line() {
        let held = held();
        let ran = Ran { held: &held, worker: "w", started_at_ms: Some(1), ended_at_ms: 2, children: Vec::new() };
        let letter = dead_letter(ran.failed(failure()), &held);
        assert_eq!(letter.reason, "error in attempt 3 of 5");
        assert_eq!(letter.result.map(|result| result.state()), Some(State::Failed));
    }
}
