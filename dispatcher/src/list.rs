//! Lists of tasks, a page at a time, from where the tasks are: the queue, the delay stream, the results, the dead
//! letters. There is no index, which would be a second record that could disagree with the first.
//!
//! A page costs a bounded number of reads, whatever it looks for, so that no list can hold up a queue: it may be short,
//! or empty, and say that there is more. What waits is read forwards, what has ended backwards; each read asks for
//! about as much as is still wanted, and for more where little of it was. No filter is ever sent to a large stream: the
//! server would go through its whole index first (100 ms for half a million tasks).
//!
//! A cursor says how far the lists of a stage were read, so nobody remembers anything between two pages. Tasks that
//! move from one stage to the next while somebody pages may be seen twice, and those that move against the reading
//! order may be missed; what stays where it is is seen once.

pub(crate) mod asked;
mod backwards;
mod cursor;
mod ended;
mod page;
mod stage;
mod waiting;
mod wanted;

pub(crate) use cursor::Place;
pub(crate) use stage::Stage;
pub use wanted::ListTasks;
pub(crate) use wanted::unknown_state;

use workfleet_proto::v1::State;

use crate::ask;
use crate::dispatcher::Inner;
use crate::error::ApiError;
use crate::kinds::Queue;
use crate::view::TaskList;
use page::Page;
use wanted::Wanted;

/// How a stage ended.
enum Stop {
    /// There is nothing more in it.
    Through,
    /// The page is full, or has cost enough.
    At(Place),
}

impl Inner {
    /// A page of a queue's tasks.
    pub(crate) async fn tasks(&self, list: &ListTasks) -> Result<TaskList, ApiError> {
        self.page(list, Stage::of).await
    }

    /// The same of those that have not ended.
    pub(crate) async fn open_tasks(&self, list: &ListTasks) -> Result<TaskList, ApiError> {
        self.page(list, Stage::of_open).await
    }

    async fn page(
        &self,
        list: &ListTasks,
        stages: fn(Option<State>) -> &'static [Stage],
    ) -> Result<TaskList, ApiError> {
        let wanted = list.read()?;
        let queue = self.connected()?.kinds.queue(&list.queue).await?;
        let mut page = Page::new(&wanted);
        let mut place = wanted.place;
        let stages = stages(wanted.state);
        // A cursor of another list may name a stage that this one has not.
        let first = place.map_or(Some(0), |place| stages.iter().position(|stage| *stage == place.stage));
        let Some(first) = first else {
            return Err(ApiError::invalid_option("cursor", "the cursor was given by another list"));
        };
        for stage in &stages[first..] {
            let from = match place.take() {
                Some(place) => place,
                None if page.is_spent() => return Ok(page.ends(Some(Place::before(*stage)))),
                None => Place::before(*stage),
            };
            if let Stop::At(place) = self.stage(&queue, &wanted, from, &mut page).await? {
                return Ok(page.ends(Some(place)));
            }
        }
        Ok(page.ends(None))
    }

    async fn stage(&self, queue: &Queue, wanted: &Wanted, from: Place, page: &mut Page) -> Result<Stop, ApiError> {
        match from.stage {
            Stage::Queue | Stage::Due | Stage::Delay => self.list_waiting(queue, wanted, from, page).await,
            Stage::Ended | Stage::Dead => self.list_ended(queue, wanted, from, page).await,
        }
    }

    /// The sequences that a stream holds: the first, and the one behind the last.
    pub(crate) async fn bounds(&self, stream: &str) -> Result<(u64, u64), ApiError> {
        let state = ask::stream(&self.broker, stream).await?;
        Ok((state.first_seq.max(1), state.last_seq + 1))
    }
}
