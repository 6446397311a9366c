//! Pages of dead letters, the latest first.
//!
//! A letter is shown for as long as it is there, whatever its task has come to: where a redrive died half way, the letter
//! is what is left to go on from, and a list that left it out would hide the task.

use super::filter::{ListDead, Wanted};
use super::letter::Letter;
use super::view::{DeadList, DeadView};
use crate::dispatcher::Inner;
use crate::error::ApiError;
use crate::kinds::Queue;
use crate::limits::{LIST_PAGE_BYTES_MAX, LIST_READ_MESSAGES_MAX, LIST_READ_MESSAGES_MIN, LIST_READS_MAX};
use crate::list::Place;

/// A page of letters, and where the next one begins.
pub(super) struct Page {
    pub(super) letters: Vec<Letter>,
    pub(super) next: Option<Place>,
}

impl Inner {
    pub(super) async fn dead_letters(&self, list: &ListDead) -> Result<DeadList, ApiError> {
        let wanted = list.read()?;
        let queue = self.connected()?.kinds.queue(&list.queue).await?;
        let page = self.page_of_letters(&queue, &wanted).await?;
        let dead = page.letters.into_iter().map(|letter| DeadView::of(&queue, letter)).collect();
        Ok(DeadList { dead, next: page.next.map(|place| place.to_string()) })
    }

    /// Reads until the page is full, or has cost enough.
    pub(super) async fn page_of_letters(&self, queue: &Queue, wanted: &Wanted) -> Result<Page, ApiError> {
        let stream = self.broker.names.dead_stream(&queue.name);
        let (first, mut place) = self.backwards_from(&stream, wanted.place).await?;
        let (mut letters, mut bytes, mut ask) = (Vec::new(), 0, first_ask(wanted));
        for _ in 0..LIST_READS_MAX {
            if place.sequence <= first {
                return Ok(Page { letters, next: None });
            }
            if letters.len() >= wanted.limit || bytes >= LIST_PAGE_BYTES_MAX {
                break;
            }
            let (messages, next) = self.window_before(&stream, first, place, ask).await?;
            ask = (ask * 2).min(LIST_READ_MESSAGES_MAX);
            let Some(messages) = messages else {
                place = next;
                continue;
            };
            for message in messages.into_iter().rev() {
                if letters.len() >= wanted.limit || bytes >= LIST_PAGE_BYTES_MAX {
                    let next = Place { sequence: message.sequence + 1, ..place };
                    return Ok(Page { letters, next: Some(next) });
                }
                if wanted.is_past(message.time_ms) {
                    return Ok(Page { letters, next: None });
                }
                let Some(letter) = Letter::read(&message).filter(|letter| wanted.takes(letter)) else { continue };
                let letter = letter.without_payload();
                bytes += letter.bytes();
                letters.push(letter);
            }
            place = next;
        }
        let next = Some(place).filter(|place| place.sequence > first);
        Ok(Page { letters, next })
    }
}

fn first_ask(wanted: &Wanted) -> usize {
    if wanted.takes_all() {
        return wanted.limit.clamp(LIST_READ_MESSAGES_MIN, LIST_READ_MESSAGES_MAX);
    }
    LIST_READ_MESSAGES_MAX.min(wanted.limit.saturating_mul(2)).max(LIST_READ_MESSAGES_MIN)
}
