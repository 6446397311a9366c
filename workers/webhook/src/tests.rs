use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use prost_types::Value;
use prost_types::value::Kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::rustls::RootCertStore;
use workfleet_proto::kinds::webhook::WebhookRequest;
use workfleet_sdk::testing::{Bench, Ended};

use crate::{Addresses, Resolve, Resolved, Settings, Webhook};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn settings() -> Settings {
    Settings {
        secrets: None,
        timeout: Duration::from_millis(1_500),
        addresses: Addresses::Any,
        roots: RootCertStore::empty(),
    }
}

fn request(url: &str) -> WebhookRequest {
    WebhookRequest { url: url.to_owned(), r#type: "invoice.paid".to_owned(), ..Default::default() }
}

/// Answers every request with `answer`, and tells of each.
async fn receiver(answer: &'static str) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (calls, heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer, calls.clone()));
        }
    });
    (address, heard)
}

async fn serve(mut stream: TcpStream, answer: &'static str, calls: mpsc::UnboundedSender<String>) {
    let mut bytes = vec![0; 64 * 1024];
    let mut filled = 0;
    while let Ok(more @ 1..) = stream.read(&mut bytes[filled..]).await {
        filled += more;
        let text = String::from_utf8_lossy(&bytes[..filled]).into_owned();
        if text.ends_with('}') {
            let _ = calls.send(text);
            let _ = stream.write_all(answer.as_bytes()).await;
            filled = 0;
        }
    }
}

/// Says that every name is at these addresses, and counts how often it is asked.
#[derive(Debug)]
struct Lies {
    addresses: Vec<SocketAddr>,
    asked: AtomicUsize,
}

impl Lies {
    fn new(addresses: &[&str]) -> Arc<Self> {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        Arc::new(Self { addresses, asked: AtomicUsize::new(0) })
    }
}

impl Resolve for Lies {
    fn resolve<'a>(&'a self, _: &'a str, _: u16) -> Resolved<'a> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(self.addresses.clone())).boxed()
    }
}

fn header<'a>(call: &'a str, name: &str) -> Option<&'a str> {
    call.lines().find_map(|line| line.split_once(": ").filter(|(found, _)| *found == name).map(|(_, value)| value))
}

#[tokio::test]
async fn a_delivery_is_signed_and_is_the_same_event_in_every_attempt() {
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::write(folder.path().join("default"), SECRET).unwrap();
    let webhook = Webhook::new(Settings { secrets: Some(folder.path().to_owned()), ..settings() });
    let (address, mut heard) = receiver("HTTP/1.1 202 Accepted\r\ncontent-length: 4\r\n\r\nnice").await;
    let data = Some(Value { kind: Some(Kind::NumberValue(42.0)) });
    let task = WebhookRequest { data, ..request(&format!("http://{address}/in?key=1")) };
    let bench = Bench::new();
    let ran = bench.run(&webhook, task.clone()).await;
    assert_eq!((ran.output().status, ran.output().body.as_str()), (202, "nice"));
    let call = heard.recv().await.unwrap();
    assert!(call.starts_with("POST /in?key=1 HTTP/1.1\r\n"), "{call}");
    assert_eq!(header(&call, "content-type"), Some("application/json"));
    assert!(header(&call, "user-agent").unwrap().starts_with("workfleet-webhook/"));
    assert_eq!(header(&call, "host"), Some(address.to_string().as_str()));

    let mut headers = http::HeaderMap::new();
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        headers.insert(name, header(&call, name).unwrap().parse().unwrap());
    }
    let body = call.split_once("\r\n\r\n").unwrap().1;
    standardwebhooks::Webhook::new(SECRET).unwrap().verify(body.as_bytes(), &headers).unwrap();
    assert!(body.starts_with(r#"{"data":42,"timestamp":""#) && body.ends_with(r#"","type":"invoice.paid"}"#), "{body}");
}

#[tokio::test]
async fn an_event_has_the_time_of_its_submit_and_a_delivery_that_of_its_attempt() {
    let webhook = Webhook::new(settings());
    let (address, mut heard) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    let epoch = std::time::UNIX_EPOCH;
    let bench = Bench::new()
        .submitted_at(epoch + Duration::from_secs(1_000_000_000))
        .at(epoch + Duration::from_secs(1_000_000_060))
        .attempt(2, 5);
    bench.run(&webhook, request(&format!("http://{address}/"))).await.output();
    let call = heard.recv().await.unwrap();
    assert_eq!(header(&call, "webhook-timestamp"), Some("1000000060"));
    assert_eq!(header(&call, "webhook-signature"), None, "there is no folder of secrets");
    assert!(call.contains(r#""timestamp":"2001-09-09T01:46:40.000Z""#), "{call}");
}

#[tokio::test]
async fn private_addresses_are_refused_however_they_are_spelt_and_nothing_is_sent() {
    let webhook = Webhook::new(Settings { addresses: Addresses::PublicOnly, ..settings() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let hosts = [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "127.1",
        "127.0.0.1.",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "localhost",
        "LOCALHOST",
        "0.0.0.0",
        "[::]",
        "169.254.169.254",
        "10.0.0.1",
        "[fd00::1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
    ];
    for host in hosts {
        let ran = Bench::new().run(&webhook, request(&format!("http://{host}:{port}/"))).await;
        let failure = ran.failure();
        assert_eq!((failure.code(), failure.is_permanent()), ("private_address", true), "{host}: {failure}");
    }
    assert!(listener.accept().now_or_never().is_none(), "somebody connected");
}

#[tokio::test]
async fn a_name_that_is_at_a_private_address_is_refused_after_one_look_up() {
    for address in ["169.254.169.254:80", "127.0.0.1:80", "[::1]:80", "[::ffff:10.0.0.1]:80"] {
        let lies = Lies::new(&[address]);
        let settings = Settings { addresses: Addresses::PublicOnly, ..settings() };
        let webhook = Webhook::with_resolver(settings, lies.clone());
        let ran = Bench::new().run(&webhook, request("http://innocent.example/")).await;
        assert_eq!(ran.failure().code(), "private_address", "{address}");
        assert_eq!(lies.asked.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn each_of_a_names_addresses_is_tried() {
    let (address, mut heard) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
    // Nothing listens at the first: it was free a moment ago.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let lies = Lies::new(&[&closed.to_string(), &address.to_string()]);
    let webhook = Webhook::with_resolver(settings(), lies);
    Bench::new().run(&webhook, request("http://innocent.example/")).await.output();
    heard.recv().await.unwrap();
}

#[tokio::test]
async fn nobody_there_and_no_such_name_are_unreachable() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let webhook = Webhook::with_resolver(settings(), Lies::new(&[]));
    for url in [format!("http://{closed}/"), "http://nowhere.example/".to_owned()] {
        let ran = Bench::new().run(&webhook, request(&url)).await;
        assert_eq!((ran.failure().code(), ran.failure().is_permanent()), ("unreachable", false), "{url}");
    }
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_never_tried_again() {
    let webhook = Webhook::new(settings());
    let good = request("https://a.example/");
    let cases = [
        ("invalid_url", request("gopher://a.example/")),
        ("invalid_type", WebhookRequest { r#type: "no spaces".to_owned(), ..good.clone() }),
        ("invalid_secret_ref", WebhookRequest { secret_ref: "../../etc/passwd".to_owned(), ..good.clone() }),
        ("unknown_secret", WebhookRequest { secret_ref: "shop".to_owned(), ..good.clone() }),
        ("invalid_data", WebhookRequest { data: Some(Value { kind: Some(Kind::NumberValue(f64::NAN)) }), ..good }),
    ];
    for (code, request) in cases {
        let ran = Bench::new().run(&webhook, request).await;
        assert_eq!((ran.failure().code(), ran.failure().is_permanent()), (code, true));
    }
}

#[tokio::test]
async fn what_is_no_http_or_no_tls_is_unreachable() {
    let (address, _heard) = receiver("220 mail.example ESMTP\r\n").await;
    let webhook = Webhook::new(settings());
    for scheme in ["http", "https"] {
        let ran = Bench::new().run(&webhook, request(&format!("{scheme}://{address}/"))).await;
        let code = ran.failure().code();
        // A plain-text server waits for more of what it takes for a request; the time decides then.
        assert!(code == "unreachable" || (scheme == "https" && code == "timeout"), "{scheme}: {:?}", ran.failure());
    }
}

#[tokio::test]
async fn a_head_without_end_is_no_answer() {
    let line = format!("x-more: {}\r\n", "x".repeat(10_000));
    let answer = format!("HTTP/1.1 200 OK\r\n{}", line.repeat(50));
    let (address, _heard) = receiver(answer.leak()).await;
    let ran = Bench::new().run(&Webhook::new(settings()), request(&format!("http://{address}/"))).await;
    assert_eq!((ran.failure().code(), ran.failure().is_permanent()), ("unreachable", false), "{:?}", ran.failure());
}

#[tokio::test]
async fn a_body_without_end_changes_nothing_about_the_status() {
    let webhook = Webhook::new(settings());
    for (answer, status) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nslow", Some(200)),
        ("HTTP/1.1 503 Unavailable\r\nretry-after: 7\r\ncontent-length: 1000000\r\n\r\nslow", None),
    ] {
        let (address, _heard) = receiver(answer).await;
        let begun = Instant::now();
        let ran = Bench::new().run(&webhook, request(&format!("http://{address}/"))).await;
        assert!(begun.elapsed() < settings().timeout, "{:?}", begun.elapsed());
        match (&ran.ended, status) {
            (Ended::Completed(reply), Some(status)) => assert_eq!((reply.status, &*reply.body), (status, "slow")),
            (Ended::Failed(error), None) => {
                assert_eq!((error.code(), error.delay()), ("server_error", Some(Duration::from_secs(7))));
                assert!(error.message().contains("503") && error.message().contains("slow"), "{error}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_body_is_waited_for_no_longer_than_the_attempt_may_take() {
    let webhook = Webhook::new(Settings { timeout: Duration::from_millis(300), ..settings() });
    let (address, _heard) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\nslow").await;
    let begun = Instant::now();
    let ran = Bench::new().run(&webhook, request(&format!("http://{address}/"))).await;
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
    assert_eq!(ran.output().body, "slow");
}

#[tokio::test]
async fn a_receiver_that_hangs_costs_the_timeout_and_no_more_than_the_attempt_has() {
    let (address, _heard) = receiver("").await;
    let webhook = Webhook::new(settings());
    for (bench, expected) in [
        (Bench::new(), settings().timeout),
        (Bench::new().timeout(Duration::from_millis(400)), Duration::from_millis(400)),
    ] {
        let begun = Instant::now();
        let ran = bench.run(&webhook, request(&format!("http://{address}/"))).await;
        let took = begun.elapsed();
        assert!(took < expected + Duration::from_secs(1), "{took:?}");
        match ran.ended {
            Ended::Failed(error) => assert_eq!((error.code(), error.is_permanent()), ("timeout", false)),
            Ended::TimedOut => assert!(expected < settings().timeout),
            other => panic!("{other:?}"),
        }
    }
}
