//! How many replicas of which worker.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::LocalError;

/// Replicas where nothing is said: two, so that one can be killed and the queue goes on.
pub(crate) const REPLICAS_DEFAULT: u32 = 2;
/// Most replicas of one worker on one machine.
pub(crate) const REPLICAS_MAX: u32 = 64;

/// `thumbnail=4`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replicas {
    /// The queue whose worker is meant.
    pub queue: String,
    /// How many of it.
    pub count: u32,
}

/// What is wanted of each worker.
pub(crate) type Scaling = BTreeMap<String, u32>;

impl FromStr for Replicas {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (queue, count) = text.split_once('=').ok_or("say QUEUE=N, as in thumbnail=4")?;
        if queue.is_empty() {
            return Err("the queue's name is missing before `=`".to_owned());
        }
        let count: u32 = count.parse().map_err(|_| format!("`{count}` is not a number of replicas"))?;
        if count > REPLICAS_MAX {
            return Err(format!("{count} replicas are more than {REPLICAS_MAX}"));
        }
        Ok(Self { queue: queue.to_owned(), count })
    }
}

/// The default for each of `queues`, changed by what was asked for.
pub(crate) fn scaling(queues: &[String], asked: &[Replicas]) -> Result<Scaling, LocalError> {
    let mut scaling: Scaling = queues.iter().map(|queue| (queue.clone(), REPLICAS_DEFAULT)).collect();
    for replicas in asked {
        match scaling.get_mut(&replicas.queue) {
            Some(count) => *count = replicas.count,
            None => return Err(unknown(&replicas.queue, queues)),
        }
    }
    Ok(scaling)
}

/// The answer to a worker that is not there.
pub(crate) fn unknown<'a>(queue: &str, known: impl IntoIterator<Item = &'a String>) -> LocalError {
    let known: Vec<&str> = known.into_iter().map(String::as_str).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    LocalError::UnknownWorker { queue: queue.to_owned(), known }
}

#[cfg(test)]
mod tests {
    use super::{Replicas, scaling};

    fn replicas(text: &str) -> Result<Replicas, String> {
        text.parse()
    }

    #[test]
    fn a_scale_is_a_queue_and_a_number() {
        assert_eq!(replicas("thumbnail=4"), Ok(Replicas { queue: "thumbnail".to_owned(), count: 4 }));
        assert_eq!(replicas("a-b=0").map(|replicas| replicas.count), Ok(0));
        for wrong in ["thumbnail", "thumbnail=", "=3", "thumbnail=-1", "thumbnail=x", "thumbnail=65", "thumbnail=1.5"] {
            assert!(replicas(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_nobody_asked_for_has_the_default_and_what_is_unknown_is_refused() {
        let queues = ["email".to_owned(), "thumbnail".to_owned()];
        let asked = [replicas("thumbnail=4").unwrap()];
        let wanted = scaling(&queues, &asked).unwrap();
        assert_eq!(wanted.into_iter().collect::<Vec<_>>(), [("email".to_owned(), 2), ("thumbnail".to_owned(), 4)]);
        let error = scaling(&queues, &[replicas("thumbs=4").unwrap()]).unwrap_err();
        assert!(error.to_string().contains("email, thumbnail"), "{error}");
    }
}
