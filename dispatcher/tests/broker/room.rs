//! Whether there is room, asked of streams that do not answer.

use std::time::{Duration, Instant};

use workfleet_dispatcher::{Code, Dispatcher, Options, Submit};

use crate::place::{Place, wide};

/// A question that a user may not ask is one that nobody answers.
const DEAF_TO_THUMBNAIL: &str = r#"
no_auth_user: all
authorization {
  users = [
    { user: all, password: x }
    { user: deaf, password: x, permissions: { publish: { deny: ["$JS.API.STREAM.INFO.RESULTS_thumbnail"] } } }
  ]
}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_does_not_answer_holds_up_its_own_queue_alone_and_once() {
    let place = Place::start_with(DEAF_TO_THUMBNAIL, "").await;
    let mail = place.mail_proto();
    place.provision(&format!("[queue.mail]\nproto = {mail:?}")).await;
    let deaf = Dispatcher::connect(&place.config("deaf:x@")).await.expect("connected");
    let to_mail = || Submit { queue: "mail".to_owned(), ..wide(1, None, Options::default()) };
    deaf.submit(to_mail()).await.expect("its kind is known now");

    let began = Instant::now();
    let stuck = tokio::spawn({
        let deaf = deaf.clone();
        async move {
            let submits = (0..8).map(|_| deaf.submit(wide(1, None, Options::default())));
            (futures::future::join_all(submits).await, deaf)
        }
    });
    // Long enough that the count of mail is asked for again, behind the question that hangs.
    tokio::time::sleep(Duration::from_millis(800)).await;
    let asked = Instant::now();
    deaf.submit(to_mail()).await.expect("its stream answers");
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());

    let (refused, deaf) = stuck.await.expect("no panic");
    assert!(refused.iter().all(|one| one.as_ref().is_err_and(|error| error.code == Code::BrokerUnavailable)));
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    let asked = Instant::now();
    deaf.submit(wide(1, None, Options::default())).await.expect_err("remembered");
    assert!(asked.elapsed() < Duration::from_millis(300), "{:?}", asked.elapsed());
    assert_eq!(place.messages("TASKS_thumbnail").await, 0);
}
