//! Children, with a dispatcher of the test's own that says what a real one seldom does. The real one is in `tests/`.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use prost::Message as _;
use workfleet_proto::id::{ChildKey, TaskId};
use workfleet_proto::kinds::thumbnail::{ThumbnailReply, ThumbnailRequest};
use workfleet_proto::names::header;
use workfleet_proto::settlement::Generation;
use workfleet_proto::v1::submit_reply::Reply;
use workfleet_proto::v1::{Envelope, FleetSubmit, Problem, State, SubmitReply, Task, parent};
use workfleet_proto::wire::CopyHeaders;
use workfleet_sdk::{Context, TaskError};

use crate::fleet::Fleet;

/// A question as it came.
#[derive(Debug, Clone)]
struct Asked {
    at: Instant,
    submit: FleetSubmit,
    traced: bool,
}

impl Asked {
    /// Whether the parent says that it knows of the child.
    fn exists(&self) -> bool {
        self.submit.parent.as_ref().is_some_and(|parent| parent.exists)
    }

    /// The id that the child must get.
    fn child(&self) -> TaskId {
        let parent = self.submit.parent.as_ref().expect("a parent");
        let key = match parent.key.as_ref().expect("a key") {
            parent::Key::Ordinal(ordinal) => ChildKey::Ordinal(*ordinal),
            parent::Key::Name(name) => ChildKey::Name(name.clone()),
        };
        let (id, submit) = (parent.id.parse().expect("an id"), self.submit.submit.as_ref().expect("a submit"));
        let ordering_key = submit.options.as_ref().and_then(|options| options.ordering_key.as_deref());
        TaskId::child(&submit.queue.parse().expect("a queue"), &id, parent.run, &key, ordering_key)
    }
}

/// Answers submits; `answer` gets how many were asked before and the question, and `None` is silence.
async fn dispatcher(
    fleet: &Fleet,
    mut answer: impl FnMut(usize, &Asked) -> Option<Reply> + Send + 'static,
) -> Arc<Mutex<Vec<Asked>>> {
    let (client, names) = (fleet.broker.client.clone(), &fleet.broker.names);
    let submits = client.queue_subscribe(names.submit_everywhere(), names.submit_group().to_owned());
    let mut submits = submits.await.expect("a subscription");
    client.flush().await.expect("a connection");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Some(message) = submits.next().await {
            let submit = FleetSubmit::decode(message.payload).expect("a submit");
            let traced = message.headers.is_some_and(|headers| headers.get(header::TRACEPARENT).is_some());
            let asked = Asked { at: Instant::now(), submit, traced };
            let before = log.lock().expect("no panic").len();
            log.lock().expect("no panic").push(asked.clone());
            if let (Some(reply), Some(to)) = (answer(before, &asked), message.reply) {
                let reply = SubmitReply { line: 0, reply: Some(reply) };
                client.publish(to, reply.encode_to_vec().into()).await.expect("a connection");
            }
        }
    });
    seen
}

fn taken(asked: &Asked) -> Reply {
    Reply::Task(Task { id: asked.child().to_string(), ..Default::default() })
}

fn refused(code: &str, retry_after_ms: Option<i64>) -> Reply {
    Reply::Problem(Problem {
        code: code.to_owned(),
        detail: "not now".to_owned(),
        retry_after_ms,
        ..Default::default()
    })
}

/// A fleet whose tasks may have children in their own queue.
async fn parents() -> Fleet {
    Fleet::start_with(|settings| settings.children = vec![settings.queue.clone()]).await
}

/// Submits one child.
async fn parent(ctx: Context, _: ThumbnailRequest) -> Result<ThumbnailReply, TaskError> {
    ctx.submit(ThumbnailRequest::default()).await?;
    Ok(ThumbnailReply::default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_says_when_to_come_again_is_asked_again_then_and_within_the_attempt() {
    let fleet = parents().await;
    let seen = dispatcher(&fleet, |before, asked| {
        Some(if before < 2 { refused("rate_limited", Some(300)) } else { taken(asked) })
    });
    let seen = seen.await;
    let worker = fleet.worker(1, parent).await;
    let id = fleet.submit(ThumbnailRequest::default()).await;
    let ended = fleet.ended(&id).await;
    let seen = seen.lock().expect("no panic").clone();
    assert_eq!((ended.state(), ended.attempt), (State::Completed, 1), "{ended:?}");
    assert_eq!(ended.children, [seen[0].child().to_string()]);
    assert_eq!(seen.len(), 3);
    assert!(seen.windows(2).all(|pair| pair[0].submit == pair[1].submit), "the same question each time");
    assert!(seen.windows(2).all(|pair| pair[1].at - pair[0].at >= Duration::from_millis(300)), "{seen:?}");
    assert!(seen.iter().all(|asked| asked.traced));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispatcher_that_says_nothing_costs_an_attempt_and_makes_no_second_child() {
    let fleet = parents().await;
    // Two questions fit the time of one attempt.
    let seen = dispatcher(&fleet, |before, asked| (before >= 2).then(|| taken(asked))).await;
    let worker = fleet.worker(1, parent).await;
    let id = fleet.submit(ThumbnailRequest::default()).await;
    let ended = fleet.ended(&id).await;
    assert_eq!((ended.state(), ended.attempt), (State::Completed, 2), "{ended:?}");
    assert_eq!(ended.attempts[0].code, "dispatcher_timeout");
    let seen = seen.lock().expect("no panic").clone();
    assert!(seen.iter().all(|asked| asked.child() == seen[0].child()), "{seen:?}");
    assert!(!seen.iter().any(Asked::exists), "what was asked for without an answer may not be there: {seen:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_was_accepted_once_counts_as_submitted_when_nothing_is_left_of_it() {
    let fleet = parents().await;
    let seen = dispatcher(&fleet, |before, asked| {
        let gone =
            Problem { task_id: Some(asked.child().to_string()), code: "unknown_task".to_owned(), ..Problem::default() };
        Some(if before == 0 { taken(asked) } else { Reply::Problem(gone) })
    });
    let seen = seen.await;
    let handler = |ctx: Context, _: ThumbnailRequest| async move {
        ctx.submit(ThumbnailRequest::default()).await?;
        if ctx.attempt() == 1 { Err(TaskError::retryable("once", "more")) } else { Ok(ThumbnailReply::default()) }
    };
    let worker = fleet.worker(1, handler).await;
    let id = fleet.submit(ThumbnailRequest::default()).await;
    let ended = fleet.ended(&id).await;
    let seen = seen.lock().expect("no panic").clone();
    assert_eq!((ended.state(), ended.attempt), (State::Completed, 2), "{ended:?}");
    assert_eq!(ended.children, [seen[0].child().to_string()]);
    assert_eq!(seen.iter().map(Asked::exists).collect::<Vec<_>>(), [false, true], "{seen:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn that_another_child_is_unknown_or_one_that_was_never_accepted_is_a_failure() {
    let fleet = parents().await;
    let stranger = fleet.new_id().to_string();
    let seen = dispatcher(&fleet, move |before, asked| {
        let id = if before == 2 { stranger.clone() } else { asked.child().to_string() };
        let gone = Problem { task_id: Some(id), code: "unknown_task".to_owned(), ..Problem::default() };
        Some(if before == 1 { taken(asked) } else { Reply::Problem(gone) })
    });
    let seen = seen.await;
    let handler = |ctx: Context, _: ThumbnailRequest| async move {
        let submit = || ctx.child(ThumbnailRequest::default()).named("it").submit();
        let codes =
            [submit().await, submit().await, submit().await].map(|it| it.err().map(|error| error.code().to_owned()));
        let unknown = Some("unknown_task".to_owned());
        if codes == [unknown.clone(), None, unknown] {
            Ok(ThumbnailReply::default())
        } else {
            Err(TaskError::permanent("codes", format!("{codes:?}")))
        }
    };
    let worker = fleet.worker(1, handler).await;
    let id = fleet.submit(ThumbnailRequest::default()).await;
    let ended = fleet.ended(&id).await;
    assert_eq!(ended.state(), State::Completed, "{ended:?}");
    let seen = seen.lock().expect("no panic").clone();
    assert_eq!(seen.iter().map(Asked::exists).collect::<Vec<_>>(), [false, false, true], "{seen:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_refused_ends_the_parent_with_the_dispatchers_code() {
    let fleet = parents().await;
    let seen = dispatcher(&fleet, |_, _| Some(refused("unknown_queue", None))).await;
    let worker = fleet.worker(1, parent).await;
    let id = fleet.submit(ThumbnailRequest::default()).await;
    let ended = fleet.ended(&id).await;
    assert_eq!((ended.state(), ended.attempt, ended.children.len()), (State::Failed, 1, 0), "{ended:?}");
    assert_eq!(ended.failure.map(|failure| failure.code).as_deref(), Some("unknown_queue"));
    assert_eq!(seen.lock().expect("no panic").len(), 1);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_earlier_attempts_submitted_is_kept_and_a_redriven_run_says_so() {
    let fleet = parents().await;
    let seen = dispatcher(&fleet, |_, asked| Some(taken(asked))).await;
    let handler = |ctx: Context, _: ThumbnailRequest| async move {
        let child = ctx.child(ThumbnailRequest { width_px: 1, ..Default::default() });
        child.named("it").delay(Duration::from_secs(5)).label("team", "web").submit().await?;
        if ctx.attempt() == 1 { Err(TaskError::retryable("once", "more")) } else { Ok(ThumbnailReply::default()) }
    };
    let worker = fleet.worker(1, handler).await;
    let earlier = fleet.new_id().to_string();
    let children = vec![earlier.clone(), earlier.clone(), "no id".to_owned()];
    let copy = CopyHeaders { generation: Generation { run: 2, attempt: 1, back: 0 }, ..fleet.headers() };
    let id = fleet.publish("m", copy, Envelope { children, ..fleet.envelope() }).await;
    let ended = fleet.ended(&id).await;
    let seen = seen.lock().expect("no panic").clone();
    assert_eq!((ended.state(), ended.attempt, seen.len()), (State::Completed, 2, 2), "{ended:?}");
    assert_eq!(ended.children, [earlier, seen[0].child().to_string()]);
    for asked in seen {
        let parent = asked.submit.parent.expect("a parent");
        assert_eq!((parent.id.as_str(), parent.run), (id.as_str(), 2));
        assert_eq!(parent.key, Some(parent::Key::Name("it".to_owned())));
        let options = asked.submit.submit.and_then(|submit| submit.options).expect("options");
        assert_eq!((options.delay_ms, options.labels.len()), (Some(5_000), 1));
    }
    worker.stop().await;
}
