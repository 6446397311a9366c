//! A task as the dispatcher's JSON tells of it, and how a person is shown it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use workfleet_proto::v1::State;

use super::fault::Fault;
use super::print;
use super::remote::Remote;

/// What is read of a task; the whole document is kept for `--json`.
#[derive(Debug, Clone)]
pub(crate) struct Task {
    /// As the dispatcher sent it.
    pub(crate) document: Value,
    pub(crate) fields: Fields,
}

/// The fields that the commands act on. Unknown ones are no mistake: a newer dispatcher may say more.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Fields {
    pub(crate) id: String,
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) attempt: u32,
    #[serde(default)]
    pub(crate) attempts_max: u32,
    pub(crate) submitted_at: Option<Timestamp>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) progress: Option<Progress>,
    pub(crate) output: Option<Value>,
    /// Where the output is when it is too large to be shown.
    #[serde(default)]
    pub(crate) output_blob: Option<String>,
    pub(crate) failure: Option<Failure>,
    pub(crate) trace_id: Option<String>,
    pub(crate) parent_id: Option<String>,
    #[serde(default)]
    pub(crate) children: Vec<String>,
    #[serde(default)]
    pub(crate) labels: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Progress {
    #[serde(default)]
    pub(crate) percent: u32,
    #[serde(default)]
    pub(crate) message: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Failure {
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) attempts: Vec<Attempt>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) attempt: u32,
    pub(crate) ended_at: Option<Timestamp>,
    #[serde(default)]
    pub(crate) worker: Option<String>,
    #[serde(default)]
    pub(crate) code: String,
    #[serde(default)]
    pub(crate) message: String,
}

impl Task {
    /// Reads a document.
    pub(crate) fn read(document: Value) -> Result<Self, Fault> {
        match Fields::deserialize(&document) {
            Ok(fields) => Ok(Self { document, fields }),
            Err(error) => Err(Fault::Unreachable(format!("the answer is not a task ({error}); is this a dispatcher?"))),
        }
    }

    /// Whether nothing follows any more.
    pub(crate) fn has_ended(&self) -> bool {
        State::from_word(&self.fields.state).is_some_and(State::is_end)
    }

    /// A fault for a task that ended in any way but completed.
    pub(crate) fn verdict(&self) -> Result<(), Fault> {
        if !self.has_ended() || self.fields.state == State::Completed.word() {
            return Ok(());
        }
        let why = self
            .fields
            .failure
            .as_ref()
            .map_or_else(String::new, |failure| format!(": {}", failure.words_behind(&self.fields.state)));
        Err(Fault::Ended(format!("task {} {}{why}", self.fields.id, self.fields.state)))
    }

    /// Where it stands, in one line.
    pub(crate) fn line(&self) -> String {
        let fields = &self.fields;
        let mut line = format!("{:<9}", fields.state);
        if fields.attempt > 0 {
            line.push_str(&format!(" attempt {}/{}", fields.attempt, fields.attempts_max));
        }
        if let Some(progress) = fields.progress.as_ref().filter(|_| !self.has_ended()) {
            line.push_str(&format!(" {:>3} % {}", progress.percent, progress.message));
        }
        if let Some(failure) = &fields.failure {
            line.push_str(&format!(" {}", failure.words_behind(&fields.state)));
        }
        line.trim_end().to_owned()
    }

    /// The same with a time: that of its end, and before it the time of the news, which is now.
    pub(crate) fn stamped_line(&self, now: Timestamp) -> String {
        let at = self.fields.ended_at.filter(|_| self.has_ended()).unwrap_or(now);
        format!("{at:.3} {}", self.line())
    }

    /// In the form that was asked for.
    pub(crate) fn print(&self, remote: &Remote) -> Result<(), Fault> {
        if remote.json { print::json(&self.document) } else { self.show() }
    }

    /// All that a person wants to know, with long values cut.
    pub(crate) fn show(&self) -> Result<(), Fault> {
        print::pairs(self.rows())
    }

    fn rows(&self) -> Vec<(&'static str, String)> {
        let fields = &self.fields;
        let mut rows = vec![("task", fields.id.clone()), ("state", fields.state.clone())];
        rows.push(("attempt", format!("{} of {}", fields.attempt, fields.attempts_max)));
        rows.extend(self.times());
        if let Some(progress) = fields.progress.as_ref().filter(|_| !self.has_ended()) {
            rows.push(("progress", format!("{} % {}", progress.percent, progress.message)));
        }
        rows.extend(fields.trace_id.clone().filter(|id| !id.is_empty()).map(|id| ("trace", id)));
        rows.extend(fields.labels.iter().map(|(key, value)| ("label", format!("{key}:{value}"))));
        rows.extend(fields.parent_id.clone().map(|id| ("parent", id)));
        rows.extend(fields.children.iter().map(|id| ("child", id.clone())));
        if let Some(failure) = &fields.failure {
            rows.push(("failure", failure.words()));
            // A single attempt has failed as the task has, and all that it adds is where it ran.
            let only = failure.attempts.last().filter(|_| failure.attempts.len() == 1);
            rows.extend(only.and_then(|only| only.worker.clone()).map(|worker| ("worker", worker)));
            let earlier = if failure.attempts.len() > 1 { failure.attempts.as_slice() } else { &[] };
            rows.extend(earlier.iter().map(|attempt| ("", attempt.words())));
        }
        rows.extend(fields.output.as_ref().map(|output| ("output", print::shortened(output).to_string())));
        rows.extend(
            fields
                .output_blob
                .as_ref()
                .map(|blob| ("output", format!("large, in the blob {blob}: workfleet get {} --result", fields.id))),
        );
        rows
    }

    /// When, and how long. A deadline is told after the end too: it says what the end was measured by.
    fn times(&self) -> Vec<(&'static str, String)> {
        let fields = &self.fields;
        let named = [
            ("submitted", fields.submitted_at),
            ("not before", fields.not_before),
            ("deadline", fields.deadline),
            ("started", fields.started_at),
            ("ended", fields.ended_at.filter(|_| self.has_ended())),
        ];
        let mut rows: Vec<_> = named.into_iter().filter_map(|(name, at)| Some((name, at?.to_string()))).collect();
        // Of a later attempt or run, all before it is in there: since when it has waited stands nowhere.
        if let (Some(from), Some(to)) = (fields.submitted_at.max(fields.not_before), fields.started_at) {
            rows.push(("to start", between(from, to)));
        }
        // A retry that was ended while it waited has not run until then.
        let attempts = fields.failure.iter().flat_map(|failure| &failure.attempts);
        let last = attempts.last().filter(|last| last.attempt == fields.attempt).and_then(|last| last.ended_at);
        if let (Some(from), Some(to)) = (fields.started_at, last.or(fields.ended_at)) {
            rows.push(("ran", between(from, to)));
        }
        rows
    }
}

impl Failure {
    fn words(&self) -> String {
        format!("{}: {}", self.code, self.message)
    }

    /// Behind the state, which may be the code.
    fn words_behind(&self, state: &str) -> String {
        if self.code == state { self.message.clone() } else { self.words() }
    }
}

impl Attempt {
    fn words(&self) -> String {
        let place = self.worker.as_ref().map(|worker| format!(" on {worker}")).unwrap_or_default();
        format!("attempt {}{place}: {}: {}", self.attempt, self.code, self.message)
    }
}

/// In the unit that a person would choose. Clocks of two machines may disagree by a little, hence no negative times.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> String {
    milliseconds(u64::try_from(to.as_millisecond() - from.as_millisecond()).unwrap_or(0))
}

/// The same for a number of milliseconds.
pub(crate) fn milliseconds(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms / 1_000 % 60),
        _ => format!("{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::{Task, milliseconds};
    use serde_json::json;

    fn task(state: &str) -> Task {
        Task::read(json!({
            "id": "a_1", "state": state, "attempt": 2, "attempts_max": 5, "started_at": "2026-11-23T14:00:00.123Z",
            "progress": {"percent": 40, "message": "decoded"}, "something_new": 1,
            "failure": {"code": "bad_image", "message": "no image", "attempts": []},
        }))
        .expect("a task")
    }

    #[test]
    fn only_an_end_without_an_output_is_a_fault() {
        assert!(task("running").verdict().is_ok());
        assert!(task("completed").verdict().is_ok());
        let fault = task("failed").verdict().expect_err("failed");
        assert_eq!(fault.to_string(), "task a_1 failed: bad_image: no image");
        assert!(task("expired").verdict().is_err());
    }

    #[test]
    fn progress_is_told_until_the_end() {
        assert_eq!(task("running").line(), "running   attempt 2/5  40 % decoded bad_image: no image");
        assert_eq!(task("failed").line(), "failed    attempt 2/5 bad_image: no image");
    }

    #[test]
    fn a_person_sees_when_it_must_end_and_when_it_has() {
        let mut task = task("running");
        task.fields.deadline = Some("2026-11-23T14:10:00Z".parse().expect("a time"));
        task.fields.ended_at = Some("2026-11-23T14:00:01.5Z".parse().expect("a time"));
        let row = |task: &Task, name| task.rows().into_iter().find(|row| row.0 == name).map(|row| row.1);
        assert_eq!(row(&task, "deadline").as_deref(), Some("2026-11-23T14:10:00Z"));
        assert_eq!(row(&task, "ended"), None, "an earlier attempt has");
        task.fields.state = "failed".to_owned();
        assert_eq!(row(&task, "ended").as_deref(), Some("2026-11-23T14:00:01.5Z"));
        assert_eq!(row(&task, "started").as_deref(), Some("2026-11-23T14:00:00.123Z"));
    }

    #[test]
    fn an_end_is_stamped_with_its_own_time() {
        let now = "2026-11-23T15:00:00Z".parse().expect("a time");
        let mut ended = task("failed");
        ended.fields.ended_at = Some("2026-11-23T14:00:01.5Z".parse().expect("a time"));
        assert!(ended.stamped_line(now).starts_with("2026-11-23T14:00:01.500Z failed"));
        assert!(task("running").stamped_line(now).starts_with("2026-11-23T15:00:00.000Z running"));
    }

    #[test]
    fn times_are_told_in_the_unit_that_fits() {
        assert_eq!([12, 1_250, 61_000, 3_660_000].map(milliseconds), ["12 ms", "1.2 s", "1 min 1 s", "1 h 1 min"]);
    }

    #[test]
    fn a_document_that_is_no_task_is_a_fault() {
        assert!(Task::read(json!({"hello": "world"})).is_err());
    }
}
