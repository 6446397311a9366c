//! Asking for a submit as a worker does, over NATS.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use workfleet_dispatcher::Dispatcher;
use workfleet_dispatcher::accept::fleet::{self, Submits};
use workfleet_link::broker::Broker;
use workfleet_proto::v1::parent::Key;
use workfleet_proto::v1::submit_reply::Reply;
use workfleet_proto::v1::submit_request::Payload;
use workfleet_proto::v1::{FleetSubmit, Parent, Problem, SubmitReply, SubmitRequest, Task};

use crate::place::Place;

/// Whose children the tests submit. Nobody looks whether it is there.
pub(crate) const PARENT: &str = "thumbnail_01h455vb4pex5vsknk084sn02q";
const ANSWER_TIME_MAX: Duration = Duration::from_secs(20);

/// A dispatcher that answers, and somebody else who asks.
pub(crate) struct Fleet {
    pub(crate) place: Place,
    pub(crate) asker: Broker,
    stop: CancellationToken,
    station: JoinHandle<()>,
}

impl Fleet {
    /// The queue `thumbnail`, whose handlers may submit tasks to `mail`.
    pub(crate) async fn start() -> Self {
        Self::start_with("", "children = [\"mail\"]").await
    }

    /// The same two queues, with a configuration of the server's own and settings of the parents' queue.
    pub(crate) async fn start_with(server: &str, thumbnail: &str) -> Self {
        let place = Place::start_with(server, "").await;
        let proto = place.mail_proto();
        place.provision(&format!("{thumbnail}\n[queue.mail]\nproto = {proto:?}")).await;
        let asker = Broker::connect(&place.config("")).await.expect("connected");
        let (stop, station) = serve(&place.dispatcher).await;
        Self { place, asker, stop, station }
    }

    /// What is answered on the queue `mail`.
    pub(crate) async fn ask(&self, submit: &FleetSubmit) -> Reply {
        self.ask_on("wf.submit.mail", submit.encode_to_vec().into()).await
    }

    pub(crate) async fn ask_on(&self, subject: &str, body: Bytes) -> Reply {
        let request = async_nats::client::Request::new().payload(body).timeout(Some(ANSWER_TIME_MAX));
        let answer = self.asker.client.send_request(subject.to_owned(), request).await.expect("an answer");
        SubmitReply::decode(answer.payload).expect("a reply").reply.expect("an answer")
    }

    /// The same, where there may be no answer.
    pub(crate) async fn ask_in_passing(&self, submit: &FleetSubmit) -> Option<Reply> {
        let body = Bytes::from(submit.encode_to_vec());
        let request = async_nats::client::Request::new().payload(body).timeout(Some(Duration::from_secs(3)));
        let answer = self.asker.client.send_request("wf.submit.mail", request).await.ok()?;
        SubmitReply::decode(answer.payload).expect("a reply").reply
    }

    pub(crate) async fn accepted(&self, submit: &FleetSubmit) -> Task {
        match self.ask(submit).await {
            Reply::Task(task) => task,
            Reply::Problem(problem) => panic!("refused: {problem:?}"),
        }
    }

    pub(crate) async fn refused(&self, submit: &FleetSubmit) -> Problem {
        problem(self.ask(submit).await)
    }

    /// As SIGTERM does.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(ANSWER_TIME_MAX, &mut self.station).await;
        ended.expect("in time").expect("without a panic");
    }
}

/// Answers with one more dispatcher.
pub(crate) async fn serve(dispatcher: &Dispatcher) -> (CancellationToken, JoinHandle<()>) {
    let submits = Submits::subscribe(dispatcher).await.expect("subscribed");
    // The answer comes on the same connection, so the broker knows of the subscription by then.
    dispatcher.broker().jetstream.query_account().await.expect("an answer");
    let stop = CancellationToken::new();
    (stop.clone(), tokio::spawn(fleet::serve(submits, dispatcher.clone(), stop)))
}

pub(crate) fn problem(reply: Reply) -> Problem {
    match reply {
        Reply::Problem(problem) => problem,
        Reply::Task(task) => panic!("accepted: {task:?}"),
    }
}

/// A child of [`PARENT`] in its first run.
pub(crate) fn child(width_px: u32, key: Key) -> FleetSubmit {
    of_parent(width_px, Parent { id: PARENT.to_owned(), run: 1, key: Some(key), ..Parent::default() })
}

pub(crate) fn of_parent(width_px: u32, parent: Parent) -> FleetSubmit {
    FleetSubmit { parent: Some(parent), ..plain(width_px) }
}

/// A task of nobody's.
pub(crate) fn plain(width_px: u32) -> FleetSubmit {
    let payload = Some(Payload::Json(format!("{{\"width_px\":{width_px}}}")));
    FleetSubmit { submit: Some(SubmitRequest { payload, ..SubmitRequest::default() }), parent: None }
}

pub(crate) fn named(name: &str) -> Key {
    Key::Name(name.to_owned())
}
