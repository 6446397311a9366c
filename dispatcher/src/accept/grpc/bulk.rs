//! Many submits over one stream: a bounded number in flight, answers in the order of the requests.
//!
//! Answers as they come would be a little faster, and would make every caller keep a table of what is outstanding.

use futures::stream::{self, BoxStream, StreamExt as _};
use opentelemetry::Context;
use opentelemetry::trace::FutureExt as _;
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};
use workfleet_proto::v1;
use workfleet_proto::v1::submit_reply::Reply;

use super::gate::Door;
use super::{request, status};
use crate::auth::Action;

/// Submits of one stream in flight at once; the stream is not read any further meanwhile.
const IN_FLIGHT_MAX: usize = 128;

/// The answers to a stream of requests.
pub(super) fn submit_all(
    door: Door,
    requests: Streaming<v1::SubmitRequest>,
    context: Context,
    shutdown: CancellationToken,
) -> BoxStream<'static, Result<v1::SubmitReply, Status>> {
    let stopped = shutdown.clone();
    requests
        .take_until(shutdown.cancelled_owned())
        .enumerate()
        .map(move |(line, request)| submit_one(door.clone(), line as u64, request).with_context(context.clone()))
        .buffered(IN_FLIGHT_MAX)
        // Only behind the last answer: what was read is answered, what was not has not been submitted.
        .chain(
            stream::once(async move { stopped.is_cancelled().then(|| Err(status::stopping())) })
                .filter_map(std::future::ready),
        )
        .boxed()
}

async fn submit_one(
    door: Door,
    line: u64,
    request: Result<v1::SubmitRequest, Status>,
) -> Result<v1::SubmitReply, Status> {
    // The caller has gone, or has sent what is no message: nothing follows on this stream.
    let request = request.map_err(status::broken_off)?;
    let submitted = match door.open(Action::Submit, &request.queue) {
        Ok(dispatcher) => match request::submit_of_many(request) {
            Ok(submit) => dispatcher.submit(submit).await,
            Err(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    let reply = match submitted.map_err(|error| door.censored(error)) {
        Ok(submitted) => Reply::Task(submitted.task.into()),
        Err(error) => Reply::Problem(v1::Problem::from(&error)),
    };
    Ok(v1::SubmitReply { line, reply: Some(reply) })
}
