//! Many ids at once: what any replica says of them.

use std::collections::{BTreeMap, HashMap};

use prost::Message as _;
use workfleet_link::batch;
use workfleet_link::read::{ReadError, StoredMessage};
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::v1::{self, State};

use super::Fate;
use crate::dispatcher::Inner;
use crate::error::{ApiError, Code};
use crate::kinds::Queue;
use crate::ledger::Entry;
use crate::limits::{AUDIT_AGAIN, AUDIT_TRIES_MAX, LIST_READ_BYTES_MAX};
use crate::state::{self, Heard, Place, Waiting};

/// Where tasks are.
pub(super) type Fates = Vec<(TaskId, Fate)>;

/// A look at some ids of one queue.
struct Look<'a> {
    inner: &'a Inner,
    queue: &'a Queue,
    /// Those that were not found yet, by their text.
    open: HashMap<String, Entry>,
    /// Of those that have a record: the earliest run whose copies are still the task. Others are the second look's.
    runs_min: HashMap<String, u32>,
    fates: Fates,
}

/// What is stored of a task that has failed.
type Failed = Vec<TaskId>;

impl Inner {
    /// Looks where these tasks are.
    ///
    /// # Errors
    /// When the broker does not answer, three times.
    pub(super) async fn audit_chunk(&self, entries: Vec<Entry>) -> Result<Fates, ApiError> {
        let mut queues: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
        for entry in entries {
            queues.entry(entry.id.queue_str().to_owned()).or_default().push(entry);
        }
        let mut fates = Vec::new();
        for (queue, entries) in queues {
            let mut tries = 1;
            fates.extend(loop {
                match self.audit_queue(&queue, &entries).await {
                    // A leader may have gone a moment ago.
                    Err(error) if error.code == Code::BrokerUnavailable && tries < AUDIT_TRIES_MAX => tries += 1,
                    fates => break fates?,
                }
                tokio::time::sleep(AUDIT_AGAIN).await;
            });
        }
        Ok(fates)
    }

    async fn audit_queue(&self, queue: &str, entries: &[Entry]) -> Result<Fates, ApiError> {
        let queue = match self.kinds.queue(queue).await {
            // What was in a queue that is gone is gone.
            Err(error) if error.code == Code::UnknownQueue => {
                return Ok(entries.iter().map(|entry| (entry.id.clone(), Fate::Lost)).collect());
            }
            queue => queue?,
        };
        let open = entries.iter().map(|entry| (entry.id.to_string(), entry.clone())).collect();
        let fates = Vec::with_capacity(entries.len());
        let mut look = Look { inner: self, queue: &queue, open, runs_min: HashMap::new(), fates };
        let failed = look.at_results().await?;
        look.at_letters(failed).await?;
        look.at_copies().await?;
        let Look { open, mut fates, .. } = look;
        fates.extend(self.confirm_all(&queue, open.into_values()).await?);
        Ok(fates)
    }
}

impl Look<'_> {
    fn found(&mut self, id: &str, fate: Fate) {
        if let Some(entry) = self.open.remove(id) {
            self.fates.push((entry.id, fate));
        }
    }

    fn subjects(&self, subject: impl Fn(&TaskId) -> String) -> Vec<String> {
        self.open.values().map(|entry| subject(&entry.id)).collect()
    }

    /// Ends. An end is never taken back, but for that of a failed task, which a redrive replaces: those are given.
    async fn at_results(&mut self) -> Result<Failed, ApiError> {
        let names = &self.inner.broker.names;
        let (stream, subjects) = (names.results_stream(&self.queue.name), self.subjects(|id| names.result(id)));
        let mut states = Vec::with_capacity(subjects.len());
        // A result may have a large output, so none is kept.
        let each = |stored: StoredMessage| {
            let told = v1::Result::decode(stored.payload).map(|result| (result.state(), result.run));
            states.extend(told.ok().map(|(state, run)| (id_of(&stored.subject).to_owned(), state, run)));
        };
        batch::last_on_subjects(&self.inner.broker, &stream, &subjects, LIST_READ_BYTES_MAX, each).await?;
        let mut failed = Vec::new();
        for (id, state, run) in states {
            match state {
                State::Completed => self.found(&id, Fate::Completed),
                State::Cancelled => self.found(&id, Fate::Cancelled),
                State::Expired => self.found(&id, Fate::Expired),
                State::Failed => {
                    failed.extend(self.open.get(&id).map(|entry| entry.id.clone()));
                    self.runs_min.insert(id, run.saturating_add(1));
                }
                // Begun again: it is wherever the copy of this run is.
                _ => {
                    self.runs_min.insert(id, run);
                }
            }
        }
        Ok(failed)
    }

    /// Letters of what has failed. Those that have none are left open.
    async fn at_letters(&mut self, failed: Failed) -> Result<(), ApiError> {
        let names = &self.inner.broker.names;
        let stream = names.dead_stream(&self.queue.name);
        let subjects: Vec<String> = failed.iter().map(|id| names.dead(id)).collect();
        let mut letters = Vec::new();
        let each = |stored: StoredMessage| {
            if v1::DeadLetter::decode(stored.payload).is_ok() {
                letters.push(id_of(&stored.subject).to_owned());
            }
        };
        batch::last_on_subjects(&self.inner.broker, &stream, &subjects, LIST_READ_BYTES_MAX, each).await?;
        letters.iter().for_each(|id| self.found(id, Fate::Failed));
        Ok(())
    }

    /// Copies that wait, and whether a worker holds them.
    async fn at_copies(&mut self) -> Result<(), ApiError> {
        let names = &self.inner.broker.names;
        let mut delayed = self.subjects(|id| names.delay_at(id));
        for lane in &self.queue.lanes {
            delayed.extend(self.subjects(|id| names.delay_due(id, *lane)));
        }
        self.at_stream(&names.delay_stream(&self.queue.name), delayed).await?;
        let lanes = &self.queue.lanes;
        let queued = lanes.iter().flat_map(|lane| self.subjects(|id| names.task(id, *lane))).collect();
        self.at_stream(&names.tasks_stream(&self.queue.name), queued).await
    }

    async fn at_stream(&mut self, stream: &str, subjects: Vec<String>) -> Result<(), ApiError> {
        let mut copies = Vec::new();
        let each = |stored: StoredMessage| copies.extend(copy(&stored));
        batch::last_on_subjects(&self.inner.broker, stream, &subjects, LIST_READ_BYTES_MAX, each).await?;
        let held: Vec<&TaskId> =
            copies.iter().filter(|copy| copy.1.place == Place::Queue).map(|copy| &copy.0).collect();
        let heard = self.events(&held).await?;
        for (id, copy) in copies {
            if self.runs_min.get(id.as_str()).is_some_and(|run_min| copy.generation.run < *run_min) {
                continue;
            }
            let view = state::combine(self.queue, &id, &copy, heard.get(id.as_str()), now_ms());
            self.found(id.as_str(), fate_of(view.state.0));
        }
        Ok(())
    }

    async fn events(&self, ids: &[&TaskId]) -> Result<HashMap<String, Heard>, ApiError> {
        let names = &self.inner.broker.names;
        let subjects: Vec<String> = ids.iter().map(|id| names.event(id)).collect();
        let mut heard = HashMap::new();
        let each = |stored: StoredMessage| {
            if let Ok(event) = v1::Event::decode(stored.payload) {
                heard.insert(event.id.clone(), Heard { at_ms: stored.time_ms, event });
            }
        };
        let stream = names.events_stream(&self.queue.name);
        match batch::last_on_subjects(&self.inner.broker, &stream, &subjects, LIST_READ_BYTES_MAX, each).await {
            // A stream in memory is gone with its server until it is made again; so are its events.
            Ok(_) | Err(ReadError::NoStream { .. }) => Ok(heard),
            Err(error) => Err(error.into()),
        }
    }
}

/// A copy, without what it carries: no chunk is to hold its payloads. What cannot be read is left to the second look.
fn copy(stored: &StoredMessage) -> Option<(TaskId, Waiting)> {
    let id = id_of(&stored.subject).parse().ok()?;
    // `wf.delay.at.<q>.<id>` has a time to come; `wf.delay.due` and `wf.task` are the queue, or the way into it.
    let mut tokens = stored.subject.split('.').skip(1);
    let is_scheduled = (tokens.next(), tokens.next()) == (Some("delay"), Some("at"));
    let place = if is_scheduled { Place::Scheduled } else { Place::Queue };
    let mut copy = state::waiting(stored, place, None).ok()?;
    copy.envelope = v1::Envelope::default();
    Some((id, copy))
}

/// Where a task is whose end is not recorded.
pub(super) fn fate_of(state: State) -> Fate {
    match state {
        State::Running => Fate::Running,
        State::Scheduled | State::Retrying => Fate::Scheduled,
        _ => Fate::Waiting,
    }
}

/// The last token of a task's subjects.
fn id_of(subject: &str) -> &str {
    subject.rsplit('.').next().unwrap_or_default()
}
