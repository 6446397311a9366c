//! A broker that does not answer, and one that is slow, while hundreds submit: what the dispatcher keeps of them is bounded
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
use workfleet_tests::{Link, Nats, Proxy, Stand, StandPlan, client, eventually_within, memory};

/// Clients that submit again and again, each over a connection of its own, while the broker is not well.
const CLIENTS: usize = 400;
/// Those before and after: few enough for a broker that is well, on a machine that is busy.
const CALM_CLIENTS: usize = 50;
/// Nearly the largest that travels in a message.
const PAYLOAD_BYTES: usize = 250 << 10;
/// How long a client waits after an answer.
const PAUSE: Duration = Duration::from_secs(2);
/// How much the dispatcher's memory may grow: by `SUBMITS_BYTES_MAX` (64 MiB), by as much that waits in the client for the
/// connection, and by what the bodies of all clients take while they are read and refused.
const GROWTH_BYTES_MAX: u64 = 384 << 20;
/// How much more it may grow once every client has been told something, for the allocator's sake. Each of them comes twice
/// again in that time, and keeping their bodies would take 195 MiB.
const GROWTH_LATER_BYTES_MAX: u64 = 112 << 20;
/// Longest way of a submit that the broker does not answer: what its queue is (twice up to 5 s, before its body and after),
/// whether there is room (5 s), an acknowledgement (5 s); and some time for a machine that is busy.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(40);
/// How long the calm ones may take, at most: until what was left on the link has gone over it.
const CALM_TIME_MAX: Duration = Duration::from_secs(60);
const STALLED_TIME: Duration = Duration::from_secs(6);
/// Twice as long again: whoever was refused has come again, and again.
const STALLED_LATER_TIME: Duration = Duration::from_secs(14);
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

/// A fleet without workers whose dispatcher reaches its broker through a link that the test can harm.
struct Place {
    stand: Stand,
    proxy: Proxy,
    _nats: Nats,
    _folder: TempDir,
}

impl Place {
    async fn start() -> Self {
        let folder = TempDir::with_prefix("workfleet-slow-").expect("the machine has a temporary folder");
        let nats = Nats::start(folder.path()).await;
        let server = nats.url().trim_start_matches("nats://").parse().expect("an address");
        let proxy = Proxy::to(server).await;
        let plan = StandPlan {
            folder: folder.path().to_owned(),
            direct: nats.url(),
            dispatchers: vec![format!("nats://{}", proxy.address())],
            workers: Vec::new(),
            slots: 1,
            queue: StandPlan::probe().bytes_max(1 << 30),
        };
        Self { stand: plan.start().await, proxy, _nats: nats, _folder: folder }
    }
}

/// What a phase came to.
#[derive(Debug)]
struct Row {
    name: &'static str,
    grown_bytes: u64,
    slowest: Duration,
    answers: BTreeMap<(u16, String), usize>,
}

impl Row {
    fn assert_bounded(&self) {
        let name = self.name;
        assert!(self.grown_bytes < GROWTH_BYTES_MAX, "{name}: {} MiB", self.grown_bytes >> 20);
        assert!(self.slowest < ANSWER_TIME_MAX, "{name}: {:?}", self.slowest);
        for (status, code) in self.answers.keys().filter(|(status, _)| *status != 202) {
            assert!(CODES.contains(&(*status, code.as_str())), "{name}: {status} {code}");
        }
    }

    fn accepted(&self) -> usize {
        self.answers.get(&(202, String::new())).copied().unwrap_or(0)
    }
}

#[allow(clippy::print_stderr, reason = "the numbers are the point")]
#[tokio::test(flavor = "multi_thread")]
async fn hundreds_who_submit_do_not_make_the_dispatcher_grow_and_are_told_in_time() {
    let place = Place::start().await;
    let (edge, pid) = (place.stand.edges().of_turn(0), place.stand.dispatcher_pid(0));
    let url = format!("{edge}/v1/queues/probe/tasks");
    let request = ProbeRequest { padding: vec![7; PAYLOAD_BYTES].into(), ..ProbeRequest::default() };
    let body = Bytes::from(request.encode_to_vec());
    // The dispatcher closes what was silent for 10 s; a request must not cross that.
    let http = client(None).pool_idle_timeout(Duration::from_secs(4)).timeout(Duration::from_secs(60));
    let http = http.build().expect("a client");

    let (calm, before_time) = phase(&http, &url, &body, CALM_CLIENTS, CALM_TIME_MAX).await;
    assert_eq!(calm.served.load(Ordering::Relaxed), CALM_CLIENTS, "{:?}", calm.answers.lock().await);
    let before = memory::resident_bytes(pid);
    memory::forget_peak(pid);
    let mut rows = Vec::new();
    let phases = [
        ("stalled", Link::Stalled, STALLED_TIME),
        ("stalled for longer", Link::Stalled, STALLED_LATER_TIME),
        ("slow", Link::Slow(SLOW_PAUSE), SLOW_TIME),
    ];
    for (name, link, time) in phases {
        place.proxy.becomes(link);
        let (told, _) = phase(&http, &url, &body, CLIENTS, time).await;
        let live = http.get(format!("{edge}/livez")).timeout(Duration::from_secs(5)).send().await.expect("it lives");
        assert_eq!(live.status(), 200);
        let grown_bytes = memory::peak_bytes(pid).saturating_sub(before);
        let slowest = Duration::from_millis(told.slowest_ms.load(Ordering::Relaxed));
        rows.push(Row { name, grown_bytes, slowest, answers: told.answers.into_inner() });
    }
    place.proxy.becomes(Link::Up);
    let (calm, after_time) = phase(&http, &url, &body, CALM_CLIENTS, CALM_TIME_MAX).await;
    let left = memory::resident_bytes(pid).saturating_sub(before);
    eprintln!("{rows:#?}\ncalm: {before_time:?} before, {after_time:?} after, and {} MiB more", left >> 20);

    assert_eq!(calm.served.load(Ordering::Relaxed), CALM_CLIENTS, "{:?}", calm.answers.lock().await);
    assert!(left < GROWTH_BYTES_MAX, "{} MiB", left >> 20);
    assert!(place.proxy.held_bytes() > 0 && place.proxy.slowed_bytes() > 0, "the fault has not struck");
    rows.iter().for_each(Row::assert_bounded);
    let later_bytes = rows[1].grown_bytes.saturating_sub(rows[0].grown_bytes);
    assert!(later_bytes < GROWTH_LATER_BYTES_MAX, "{} MiB more while it was stalled for longer", later_bytes >> 20);
    let accepted = 2 * CALM_CLIENTS + rows.iter().map(Row::accepted).sum::<usize>();
    let all_wait = async || {
        let scale: Value = http.get(format!("{edge}/v1/scale/probe")).send().await.ok()?.json().await.ok()?;
        (scale["waiting"].as_u64()? >= accepted as u64).then_some(())
    };
    eventually_within(Duration::from_secs(20), "everything that was accepted waits", all_wait).await;
}
