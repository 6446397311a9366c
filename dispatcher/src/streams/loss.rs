//! Changes that would make a stream drop what it holds, found before the first change is made.
//!
//! A queue of tasks refuses what is too much and never drops anything, so a lower limit only lets less in. Results and
//! blobs go once they are too old, and results also once there are too many bytes of them: a lower limit for those takes
//! away at once what clients were promised for longer. To change the streams one by one and to stop at the first that
//! would lose something was the alternative; it leaves a queue between two files.

use serde_json::{Map, Value};
use workfleet_link::read::ReadError;
use workfleet_link::time::now_ms;

use super::api::Api;
use super::wanted::{self, Step};
use super::{Losses, ProvisionError};
use crate::ask;
use crate::queues_file::QueuesFile;

/// Refuses a file that would lose something, unless that is wanted.
///
/// # Errors
/// When it would, or the broker does not answer.
pub(super) async fn check(api: &Api<'_>, file: &QueuesFile, losses: Losses) -> Result<(), ProvisionError> {
    if losses == Losses::Allowed {
        return Ok(());
    }
    let names = &api.broker.names;
    for queue in &file.queues {
        for step in wanted::queue(names, &queue.name, &queue.settings) {
            // Events are of the moment, and in memory.
            if let Step::Stream(wanted) = step
                && wanted.get("storage").is_some_and(|storage| storage == "file")
            {
                check_stream(api, &wanted).await?;
            }
        }
    }
    Ok(())
}

async fn check_stream(api: &Api<'_>, wanted: &Map<String, Value>) -> Result<(), ProvisionError> {
    let stream = wanted.get("name").and_then(Value::as_str).unwrap_or_default();
    let name = format!("stream {stream}");
    let Some(there) = api.config(&name, &format!("STREAM.INFO.{stream}")).await? else { return Ok(()) };
    let (is_shorter, is_smaller) =
        (lowers(&there, wanted, "max_age"), drops_oldest(wanted) && lowers(&there, wanted, "max_bytes"));
    if !is_shorter && !is_smaller {
        return Ok(());
    }
    let held = match ask::stream(api.broker, stream).await {
        Err(ReadError::NoStream { .. }) => return Ok(()),
        held => held.map_err(|error| ProvisionError::Unanswered { name: name.clone(), reason: error.to_string() })?,
    };
    let bytes_max = limit(wanted, "max_bytes").unwrap_or(i64::MAX);
    let bytes = i64::try_from(held.bytes).unwrap_or(i64::MAX);
    if is_smaller && bytes > bytes_max {
        return Err(ProvisionError::WouldDrop {
            name,
            what: format!("it holds {bytes} bytes, and {bytes_max} would be its limit"),
        });
    }
    let age_ms_max = limit(wanted, "max_age").unwrap_or(i64::MAX) / NS_PER_MS;
    let age_ms = held.first_ms().map_or(0, |first_ms| now_ms() - first_ms);
    if is_shorter && age_ms > age_ms_max {
        let (oldest, longest) = (age_ms / MS_PER_S, age_ms_max / MS_PER_S);
        let what = format!("its oldest message is {oldest} s old, and {longest} s would be its limit");
        return Err(ProvisionError::WouldDrop { name, what });
    }
    Ok(())
}

const NS_PER_MS: i64 = 1_000_000;
const MS_PER_S: i64 = 1_000;

fn drops_oldest(config: &Map<String, Value>) -> bool {
    config.get("discard").is_some_and(|discard| discard == "old")
}

/// A limit of 0 or below is none.
fn limit(config: &Map<String, Value>, key: &str) -> Option<i64> {
    config.get(key).and_then(Value::as_i64).filter(|limit| *limit > 0)
}

fn lowers(there: &Map<String, Value>, wanted: &Map<String, Value>, key: &str) -> bool {
    match (limit(there, key), limit(wanted, key)) {
        (_, None) => false,
        (None, Some(_)) => true,
        (Some(there), Some(wanted)) => wanted < there,
    }
}

#[cfg(test)]
mod tests {
    use super::lowers;
    use serde_json::{Map, Value, json};

    fn config(value: &Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn a_limit_where_there_was_none_is_lower_and_none_is_the_highest() {
        let of = |age_ns: i64| config(&json!({ "max_age": age_ns }));
        let lower = |there: i64, wanted: i64| lowers(&of(there), &of(wanted), "max_age");
        assert!(lower(2, 1) && lower(0, 1) && lower(-1, 2));
        assert!(!lower(1, 1) && !lower(1, 2) && !lower(1, 0));
    }
}
