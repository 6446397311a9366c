//! A stream read backwards.
//!
//! A stream is only ever read forwards, so it is taken in windows of sequences, the last one first. A window is as wide
//! as was right for the one before it: it is halved where more lies in it than one read gives, and doubled else. So gaps
//! of any size (keys, deleted records) are passed in a few reads.

use workfleet_link::batch::{self, Batch, Range};
use workfleet_link::read::StoredMessage;

use super::cursor::Place;
use crate::dispatcher::Inner;
use crate::error::ApiError;
use crate::limits::{LIST_READ_BYTES_MAX, LIST_READ_MESSAGES_MAX};

impl Inner {
    /// Where a list that begins at `from` begins in a stream, and the first sequence that the stream has.
    pub(crate) async fn backwards_from(&self, stream: &str, from: Place) -> Result<(u64, Place), ApiError> {
        let (first, end) = self.bounds(stream).await?;
        let sequence = if from.sequence == 0 { end } else { from.sequence.min(end) };
        Ok((first, Place { sequence, ..from }))
    }

    /// What lies in the window before `place`, in the stream's order, and where the next one begins. Nothing where more
    /// lies in it than one read gives: then the next one is narrower.
    pub(crate) async fn window_before(
        &self,
        stream: &str,
        first: u64,
        place: Place,
        ask: usize,
    ) -> Result<(Option<Vec<StoredMessage>>, Place), ApiError> {
        let width = if place.extent == 0 { ask as u64 } else { place.extent };
        let window = Window { from: place.sequence.saturating_sub(width).max(first), end: place.sequence };
        let range = Range {
            from: window.from,
            filter: None,
            messages_max: LIST_READ_MESSAGES_MAX.min(usize::try_from(width).unwrap_or(usize::MAX)),
            bytes_max: LIST_READ_BYTES_MAX,
        };
        let batch = batch::range(&self.broker, stream, range).await?;
        Ok(match window.whole(batch) {
            None => (None, Place { extent: (window.end - window.from).div_ceil(2).max(1), ..place }),
            messages => (messages, Place { sequence: window.from, extent: width.saturating_mul(2), ..place }),
        })
    }
}

/// A range of sequences, the end not included.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: u64,
    end: u64,
}

impl Window {
    /// What lies in the window; `None`: there is more in it than was read.
    fn whole(self, batch: Batch) -> Option<Vec<StoredMessage>> {
        let last = batch.messages.last().map_or(u64::MAX, |message| message.sequence);
        let is_whole = batch.pending == 0 || last >= self.end - 1;
        let inside = batch.messages.into_iter().filter(|message| message.sequence < self.end);
        is_whole.then(|| inside.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::{Batch, StoredMessage, Window};
    use async_nats::HeaderMap;

    fn batch(sequences: &[u64], pending: u64) -> Batch {
        let message = |sequence: &u64| StoredMessage {
            subject: "a".to_owned(),
            sequence: *sequence,
            time_ms: 0,
            headers: HeaderMap::new(),
            payload: bytes::Bytes::new(),
        };
        Batch { messages: sequences.iter().map(message).collect(), pending }
    }

    fn whole(sequences: &[u64], pending: u64) -> Option<Vec<u64>> {
        let whole = Window { from: 10, end: 20 }.whole(batch(sequences, pending));
        whole.map(|messages| messages.iter().map(|message| message.sequence).collect())
    }

    #[test]
    fn a_window_is_whole_when_nothing_of_it_can_be_missing() {
        assert_eq!(whole(&[], 0), Some(vec![]));
        assert_eq!(whole(&[10, 15], 0), Some(vec![10, 15]));
        assert_eq!(whole(&[10, 19], 7), Some(vec![10, 19]));
        assert_eq!(whole(&[10, 20, 21], 7), Some(vec![10]));
        assert_eq!(whole(&[10, 18], 1), None, "19 may be the next");
    }
}
