//! What was said of tasks that may be on their way to this process.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use workfleet_proto::id::TaskId;

/// Most ids that are remembered in each half of the time.
const NOTES_MAX: usize = 16_384;

/// Ids, each remembered for between one and two times an age. Pure: times are arguments.
#[derive(Debug)]
pub(super) struct Notes {
    young: HashSet<TaskId>,
    old: HashSet<TaskId>,
    turned_at: Instant,
    age: Duration,
    /// Of what was received before this, anything may have been said.
    missed_at: Option<Instant>,
}

impl Notes {
    pub(super) fn new(age: Duration, now: Instant) -> Self {
        Self { young: HashSet::new(), old: HashSet::new(), turned_at: now, age, missed_at: None }
    }

    /// Something was said of this task.
    pub(super) fn note(&mut self, id: TaskId, now: Instant) {
        self.turn(now);
        if self.young.len() >= NOTES_MAX {
            self.missed(now);
        }
        self.young.insert(id);
    }

    /// Of everything that was received before now, something may have been said.
    pub(super) fn missed(&mut self, now: Instant) {
        self.missed_at = Some(now);
        // That includes them all.
        self.young.clear();
        self.old.clear();
    }

    /// Whether something may have been said of a task that was received then.
    pub(super) fn concern(&mut self, id: &TaskId, received_at: Instant, now: Instant) -> bool {
        self.turn(now);
        let missed = self.missed_at.is_some_and(|missed_at| received_at <= missed_at);
        missed || self.young.contains(id) || self.old.contains(id)
    }

    fn turn(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.turned_at);
        if since < self.age {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if since >= self.age * 2 {
            self.old.clear();
        }
        self.turned_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::{NOTES_MAX, Notes};
    use std::time::{Duration, Instant};
    use workfleet_proto::id::TaskId;

    const AGE: Duration = Duration::from_secs(18);

    fn id(number: u64) -> TaskId {
        TaskId::new(&"mail".parse().expect("a name"), number, [0; 10], None)
    }

    #[test]
    fn a_note_is_kept_for_its_age_and_not_for_ever() {
        let start = Instant::now();
        let mut notes = Notes::new(AGE, start);
        let noted = start + AGE / 2;
        notes.note(id(1), noted);
        assert!(notes.concern(&id(1), start, noted + AGE));
        assert!(!notes.concern(&id(2), start, noted + AGE));
        assert!(!notes.concern(&id(1), start, noted + AGE * 2));
        let mut notes = Notes::new(AGE, start);
        notes.note(id(1), start);
        assert!(!notes.concern(&id(1), start, start + AGE * 3), "nobody asked for long");
    }

    #[test]
    fn too_many_notes_concern_all_that_came_before_and_take_no_more_room() {
        let start = Instant::now();
        let mut notes = Notes::new(AGE, start);
        let later = start + Duration::from_secs(1);
        for number in 0..2 * NOTES_MAX as u64 {
            notes.note(id(number), later);
        }
        assert!(notes.young.len() + notes.old.len() <= 2 * NOTES_MAX);
        assert!(notes.concern(&id(u64::from(u32::MAX)), start, later), "it may be one of those");
        assert!(!notes.concern(&id(u64::from(u32::MAX)), later + Duration::from_secs(1), later));
    }
}
