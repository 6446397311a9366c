//! A broker that does not answer, and one that is slow, while thousands submit: what the dispatcher keeps of them is bounded
//! in bytes, and each of them is told something in time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use prost::Message as _;
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::Mutex;
use workfleet_tests::kinds::probe::ProbeRequest;
use workfleet_tests::{Link, Nats, Proxy, StandPlan, client, eventually_within, memory};

/// Clients that submit again and again, each over a connection of its own, while the broker is not well.
const CLIENTS: usize = 2_400;
/// Those before and after: few enough for a broker that is well, on a machine that is busy.
const CALM_CLIENTS: usize = 100;
const PAYLOAD_BYTES: usize = 64 << 10;
/// How long a client waits after an answer.
const PAUSE: Duration = Duration::from_secs(2);
/// How much the dispatcher's memory may grow: three times `SUBMITS_BYTES_MAX` (64 MiB), and a little for what comes and is
/// refused. Without that bound it is what all clients send, three times: 450 MiB.
const GROWTH_BYTES_MAX: u64 = 256 << 20;
/// Longest way of a submit that the broker does not answer: what its queue is (twice up to 5 s, before its body and after),
/// whether there is room (5 s), an acknowledgement (5 s); and some time for a machine that is busy.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(25);
const STALLED_TIME: Duration = Duration::from_secs(10);
const SLOW_TIME: Duration = Duration::from_secs(5);
/// 16 KiB in each: 64 KiB a second.
const SLOW_PAUSE: Duration = Duration::from_millis(250);
/// What a client may be told while the broker is slow.
const CODES: [(u16, &str); 3] = [(503, "broker_unavailable"), (429, "rate_limited"), (429, "queue_full")];

/// What clients were told.
#[derive(Default)]
struct Told {
    answers: Mutex<BTreeMap<(u16, String), usize>>,
    slowest_ms: AtomicU64,
    /// Clients of whom the dispatcher has taken one in this phase.
    served: AtomicUsize,
}

/// One client: until it is taken, or until `is_over`.
async fn submit_until(http: &reqwest::Client, url: &str, body: &Bytes, told: &Told, is_over: impl Fn() -> bool) {
    while !is_over() {
        let begun = Instant::now();
        let request = http.post(url).header("content-type", "application/x-protobuf").body(body.clone());
        let (status, code) = answer_of(request).await.unwrap_or_else(|error| (0, format!("{error:?}")));
        told.slowest_ms.fetch_max(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        *told.answers.lock().await.entry((status, code)).or_default() += 1;
        if status == 202 {
            told.served.fetch_add(1, Ordering::Relaxed);
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The status, and the code of a problem.
async fn answer_of(request: reqwest::RequestBuilder) -> reqwest::Result<(u16, String)> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    let body: Value = answer.json().await?;
    Ok((status, body["code"].as_str().unwrap_or_default().to_owned()))
}

/// All clients, each until it is taken or the phase is over; and how long that took.
async fn phase(http: &reqwest::Client, url: &str, body: &Bytes, clients: usize, time: Duration) -> (Told, Duration) {
    let (told, begun) = (Told::default(), Instant::now());
    let is_over = || begun.elapsed() > time;
    join_all((0..clients).map(|_| submit_until(http, url, body, &told, is_over))).await;
    (told, begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_who_submit_do_not_make_the_dispatcher_grow_and_are_told_in_time() {
    let folder = TempDir::with_prefix("workfleet-slow-").expect("the machine has a temporary folder");
    let nats = Nats::start(folder.path()).await;
    let server = nats.url().trim_start_matches("nats://").parse().expect("an address");
    let proxy = Proxy::to(server).await;
    let stand = StandPlan {
        folder: folder.path().to_owned(),
        direct: nats.url(),
        dispatchers: vec![format!("nats://{}", proxy.address())],
        workers: Vec::new(),
        slots: 1,
        queue: StandPlan::probe().bytes_max(2 << 30),
    };
    let stand = stand.start().await;
    let (edge, pid) = (stand.edges().of_turn(0), stand.dispatcher_pid(0));
    let url = format!("{edge}/v1/queues/probe/tasks");
    let request = ProbeRequest { padding: vec![7; PAYLOAD_BYTES].into(), ..ProbeRequest::default() };
    let body = Bytes::from(request.encode_to_vec());
    // The dispatcher closes what was silent for 10 s; a request must not cross that.
    let http = client(None).pool_idle_timeout(Duration::from_secs(4)).timeout(Duration::from_secs(60));
    let http = http.build().expect("a client");

    let (warm, warm_time) = phase(&http, &url, &body, CALM_CLIENTS, Duration::from_secs(60)).await;
    assert_eq!(warm.served.load(Ordering::Relaxed), CALM_CLIENTS, "{:?}", warm.answers.lock().await);
    let before = memory::resident_bytes(pid);
    memory::forget_peak(pid);

    let mut rows = Vec::new();
    for (name, link, time) in [("stalled", Link::Stalled, STALLED_TIME), ("slow", Link::Slow(SLOW_PAUSE), SLOW_TIME)] {
        proxy.becomes(link);
        let (told, took) = phase(&http, &url, &body, CLIENTS, time).await;
        let live = http.get(format!("{edge}/livez")).timeout(Duration::from_secs(5)).send().await.expect("it lives");
        assert_eq!(live.status(), 200);
        let grown = memory::peak_bytes(pid).saturating_sub(before);
        let slowest = Duration::from_millis(told.slowest_ms.load(Ordering::Relaxed));
        let answers = told.answers.into_inner();
        println!("{name}: grown {} MiB, slowest {slowest:?}, {took:?}, {answers:?}", grown >> 20);
        rows.push((name, grown, slowest, answers));
    }
    proxy.becomes(Link::Up);
    let (after, after_time) = phase(&http, &url, &body, CALM_CLIENTS, Duration::from_secs(60)).await;
    let left = memory::resident_bytes(pid).saturating_sub(before);
    println!("warm {warm_time:?}, after {after_time:?}, {} MiB more than before", left >> 20);
    for (name, grown, slowest, answers) in &rows {
        assert!(*grown < GROWTH_BYTES_MAX, "{name}: {} MiB", grown >> 20);
        assert!(*slowest < ANSWER_TIME_MAX, "{name}: {slowest:?}");
        for ((status, code), _) in answers.iter().filter(|((status, _), _)| *status != 202) {
            assert!(CODES.contains(&(*status, code.as_str())), "{name}: {status} {code}");
        }
    }
    assert!(proxy.held_bytes() > 0 && proxy.slowed_bytes() > 0, "the fault has not struck");
    assert_eq!(after.served.load(Ordering::Relaxed), CALM_CLIENTS, "{:?}", after.answers.lock().await);
    assert!(left < GROWTH_BYTES_MAX, "{} MiB", left >> 20);
    let accepted: usize = rows.iter().filter_map(|(_, _, _, answers)| answers.get(&(202, String::new()))).sum();
    let all_wait = async || {
        let scale: Value = http.get(format!("{edge}/v1/scale/probe")).send().await.ok()?.json().await.ok()?;
        (scale["waiting"].as_u64()? >= (2 * CALM_CLIENTS + accepted) as u64).then_some(())
    };
    eventually_within(Duration::from_secs(20), "everything that was accepted waits", all_wait).await;
}
