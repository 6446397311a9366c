//! On how many servers the least safe stream is. Pure.
//!
//! As the servers say, and not as the queues' settings do, which was the alternative: a stream that `provision` has not got to,
//! or that somebody else has changed, would be graded by what it is to become.

use serde_json::Value;

/// What streams say of themselves.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    fewest: Option<u32>,
    is_unread: bool,
}

impl Replicas {
    /// Takes in a stream, by its `STREAM.INFO`.
    pub(super) fn add(&mut self, info: &Value) {
        match info["config"]["num_replicas"].as_u64().and_then(|replicas| u32::try_from(replicas).ok()) {
            Some(replicas) => self.fewest = Some(self.fewest.map_or(replicas, |fewest| fewest.min(replicas))),
            None => self.unread(),
        }
    }

    /// A stream was not read, or it was not learnt which there are.
    pub(super) fn unread(&mut self) {
        self.is_unread = true;
    }

    /// Those of the stream that has fewest; `None` if that may be one that was not read.
    pub(super) fn fewest(&self) -> Option<u32> {
        self.fewest.filter(|_| !self.is_unread)
    }

    /// Whether all was read that they depend on.
    pub(super) fn are_read(&self) -> bool {
        !self.is_unread
    }
}

#[cfg(test)]
mod tests {
    use super::Replicas;
    use serde_json::json;

    #[test]
    fn the_fewest_count_and_nothing_does_where_one_was_not_read() {
        let mut replicas = Replicas::default();
        assert_eq!(replicas.fewest(), None, "there is no stream");
        for (there, fewest) in [(3, 3), (1, 1), (5, 1)] {
            replicas.add(&json!({ "config": { "num_replicas": there } }));
            assert_eq!((replicas.fewest(), replicas.are_read()), (Some(fewest), true));
        }
        replicas.add(&json!({}));
        assert_eq!((replicas.fewest(), replicas.are_read()), (None, false));
    }
}
