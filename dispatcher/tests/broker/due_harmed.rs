//! What may go wrong with what is due, or be done to it, while it is carried.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use workfleet_dispatcher::streams::Part;
use workfleet_proto::names::Lane;

use crate::cancel::pulled;
use crate::due::{Carrier, soon};
use crate::halting::{DELAY, TASKS, later, submitted};
use crate::place::{Place, eventually};
use crate::removal::purged;

/// A dispatcher has some of it in hand, and waits for the very room that the purge makes.
#[tokio::test(flavor = "multi_thread")]
async fn a_purge_takes_what_waits_in_front_of_a_full_queue() {
    let place = Place::start("tasks_max = 2").await;
    let carrier = Carrier::start(&place.dispatcher);
    for _ in 0..40 {
        submitted(&place, soon()).await;
    }
    let full = async || {
        let view = place.dispatcher.queue("thumbnail").await.ok()?;
        (view.waiting == 2 && view.scheduled == 0).then_some(())
    };
    eventually("the queue is full, and all are due", full).await;
    purged(&place, "thumbnail", &[Part::Waiting]).await;
    // What was in hand asks one after the other, and at once where there is room: it would be among these.
    for _ in 0..3 {
        let later = submitted(&place, soon()).await;
        let next = pulled(&place).await;
        assert!(next.subject.ends_with(later.as_str()), "what was purged came back: {}", next.subject);
        next.double_ack().await.expect("acknowledged");
    }
    let empty = async || (place.messages(DELAY).await == 0 && place.messages(TASKS).await == 0).then_some(());
    eventually("nothing is left", empty).await;
    carrier.stop().await;
}

/// The client ends a connection on which such a message comes.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_none_are_taken_out_and_what_is_behind_them_is_carried() {
    let place = Place::start("").await;
    let carrier = Carrier::start(&place.dispatcher);
    let id = submitted(&place, soon()).await;
    let behind = submitted(&place, later(Duration::from_secs(2))).await;
    let subject = place.dispatcher.broker().names.delay_due(&id, Lane::DEFAULT);
    let url = place.config("").url;
    let mut raw = TcpStream::connect(url.trim_start_matches("nats://")).expect("connected");
    let headers = "NATS/1.0\r\nno colon here\r\n\r\n";
    let message = format!("HPUB {subject} {0} {0}\r\n{headers}\r\n", headers.len());
    raw.write_all(format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\n{message}PING\r\n").as_bytes())
        .expect("sent");
    let done = async || {
        let queue = place.dispatcher.get(&behind).await.ok()?.state.0.word() == "queued";
        (queue && place.messages(DELAY).await == 0 && place.messages(TASKS).await == 2).then_some(())
    };
    eventually("the others are carried, and the message is gone", done).await;
    carrier.stop().await;
}
