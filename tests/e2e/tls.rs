use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use workfleet_proto::v1::ListQueuesRequest;
use workfleet_proto::v1::dispatcher_client::DispatcherClient;
use workfleet_tests::{Authority, Fleet, Nats, Probe, Traces, client, eventually, program};

/// Longest time in which a connection that says nothing is kept, with room for a busy machine.
const SILENCE_MAX: Duration = Duration::from_secs(15);

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[tokio::test]
async fn a_fleet_over_tls_with_keys_does_what_any_fleet_does_and_tells_of_it_over_tls() {
    let authority = Authority::new();
    let traces = Traces::start_over_tls(&authority).await;
    let fleet = Fleet::builder()
        .with_keys()
        .over_tls(&authority)
        .traces_to(traces.endpoint())
        .variable("OTEL_EXPORTER_OTLP_CERTIFICATE", &text(&authority.ca_file()))
        .start()
        .await;
    assert!(fleet.http.url().starts_with("https://") && fleet.grpc_url().starts_with("https://"));
    let id = fleet.submit(&Probe::echo("in private").fails(1)).await;
    let task = fleet.completed(&id).await;
    assert_eq!(task["output"]["echo"], "in private");
    let queues = fleet.grpc().await.list_queues(ListQueuesRequest::default()).await.expect("an answer").into_inner();
    assert_eq!(queues.queues[0].name, "probe");
    let trace = task["trace_id"].as_str().expect("a trace").to_owned();
    eventually("spans of both arrive", async || {
        let spans = traces.of(&trace);
        let from = |service: &str| spans.iter().any(|span| span.service == service);
        (from("workfleet-dispatcher") && from("workfleet-probe")).then_some(())
    })
    .await;
    assert_eq!(fleet.nats.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_to_whoever_comes_next() {
    let (first, second) = (Authority::new(), Authority::new());
    let (certificate, key) = first.pair();
    let mut fleet = Fleet::builder()
        .workers("probe", 0)
        .over_tls(&first)
        .variable("WORKFLEET_TLS_CERT_FILE", &text(&certificate))
        .variable("WORKFLEET_TLS_KEY_FILE", &text(&key))
        .start()
        .await;
    let pid = fleet.dispatcher().pid();
    assert!(trusts_rest(&fleet, &first).await && trusts_grpc(&fleet, &first).await);
    assert!(!trusts_rest(&fleet, &second).await && !trusts_grpc(&fleet, &second).await);

    // What is no certificate changes nothing.
    std::fs::write(&certificate, "torn").expect("the file can be written");
    let log = async || fleet.dispatcher().log().contains("the one from before stays").then_some(());
    eventually("the dispatcher says that it cannot use it", log).await;
    assert!(trusts_rest(&fleet, &first).await && trusts_grpc(&fleet, &first).await);

    second.write_pair(&certificate, &key);
    eventually("the new one is shown", async || trusts_rest(&fleet, &second).await.then_some(())).await;
    assert!(trusts_grpc(&fleet, &second).await);
    assert!(!trusts_rest(&fleet, &first).await && !trusts_grpc(&fleet, &first).await);
    assert_eq!(fleet.dispatcher().pid(), pid);
}

async fn trusts_rest(fleet: &Fleet, authority: &Authority) -> bool {
    let client = client(Some(&authority.ca_file())).build().expect("a client");
    let answer = client.get(format!("{}/readyz", fleet.http.url())).send().await;
    answer.is_ok_and(|answer| answer.status() == 200)
}

async fn trusts_grpc(fleet: &Fleet, authority: &Authority) -> bool {
    let ca = std::fs::read(authority.ca_file()).expect("its file");
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
    let channel = Channel::from_shared(fleet.grpc_url()).expect("an address").tls_config(tls).expect("settings");
    let Ok(channel) = channel.connect().await else { return false };
    DispatcherClient::new(channel).list_queues(ListQueuesRequest::default()).await.is_ok()
}

#[tokio::test]
async fn a_new_authority_of_the_broker_is_trusted_once_it_is_in_the_file_and_nobody_starts_again() {
    let (first, second) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a folder");
    let ca_file = folder.path().join("ca.crt");
    let read = |authority: &Authority| std::fs::read_to_string(authority.ca_file()).expect("its file");
    std::fs::write(&ca_file, read(&first)).expect("a file");
    let mut fleet = Fleet::builder().over_tls(&first).variable("WORKFLEET_NATS_CA_FILE", &text(&ca_file)).start().await;
    let pids = (fleet.dispatcher().pid(), fleet.workers[0].process().pid());
    fleet.nats.kill();
    fleet.nats.vouched_for_by(&second);
    fleet.nats.restart().await;
    let ready = async || fleet.http.get("/readyz").send().await.status;
    eventually("the broker is lost", async || (ready().await == 503).then_some(())).await;
    std::fs::write(&ca_file, read(&first) + &read(&second)).expect("a file");
    eventually("the broker is found again", async || (ready().await == 200).then_some(())).await;
    fleet.completed(&fleet.submit(&Probe::echo("trusted")).await).await;
    assert_eq!((fleet.dispatcher().pid(), fleet.workers[0].process().pid()), pids);
}

#[tokio::test]
async fn whoever_comes_to_no_end_with_a_handshake_is_sent_away() {
    let authority = Authority::new();
    let fleet = Fleet::builder().workers("probe", 0).over_tls(&authority).start().await;
    let ports = [fleet.http.url(), fleet.grpc_url()].map(|url| url.replace("https://", ""));
    // Nothing at all, and the beginning of a greeting (a TLS record of 512 bytes, cut off).
    let sent_away = ports.iter().flat_map(|port| [&b""[..], &[22, 3, 1, 2, 0, 1]].map(|bytes| ends(port, bytes)));
    for took in futures::future::join_all(sent_away).await {
        assert!(took < SILENCE_MAX, "{took:?}");
    }
    // Who speaks in clear is not answered in clear.
    let answer = fleet.http.raw(b"GET /readyz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
}

async fn ends(address: &str, bytes: &[u8]) -> Duration {
    let begun = Instant::now();
    let mut stream = TcpStream::connect(address).await.expect("it accepts connections");
    stream.write_all(bytes).await.expect("the connection is open");
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(SILENCE_MAX * 2, stream.read_to_end(&mut answer)).await;
    begun.elapsed()
}

#[tokio::test]
async fn a_broker_that_is_not_trusted_or_does_not_know_us_is_named_with_the_reason() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a folder");
    let queues = folder.path().join("queues.toml");
    std::fs::write(&queues, "[queue.mail]\ntasks_bytes_max = 1048576\n").expect("a file");
    let nats = Nats::start_over_tls(folder.path(), &authority).await;
    let mut provision = Command::new(program("workfleet"));
    provision.arg("provision").arg("--queues").arg(&queues).kill_on_drop(true);
    provision.env("WORKFLEET_NATS_URL", nats.url()).env("WORKFLEET_NATS_CONNECT_TIMEOUT", "200ms");
    let trusting = async |provision: &mut Command, ca_file: &Path| {
        provision.env("WORKFLEET_NATS_CA_FILE", ca_file).output().await.expect("the program starts")
    };

    let trusted = trusting(&mut provision, &authority.ca_file()).await;
    assert!(trusted.status.success(), "{}", stderr(&trusted));

    let untrusted = trusting(&mut provision, &stranger.ca_file()).await;
    let said = stderr(&untrusted);
    assert_eq!(untrusted.status.code(), Some(3), "{said}");
    for part in ["no TLS with the NATS server", "invalid peer certificate", &text(&stranger.ca_file())] {
        assert!(said.contains(part), "{part}: {said}");
    }

    let missing = trusting(&mut provision, Path::new("/nowhere/ca.crt")).await;
    assert_eq!(missing.status.code(), Some(2), "{}", stderr(&missing));
    assert!(stderr(&missing).contains("WORKFLEET_NATS_CA_FILE=/nowhere/ca.crt"), "{}", stderr(&missing));

    // A broker without TLS is no broker for who wants it.
    let plain_folder = tempfile::tempdir().expect("a folder");
    let plain = Nats::start(plain_folder.path()).await;
    let clear = trusting(provision.env("WORKFLEET_NATS_URL", plain.url()), &authority.ca_file()).await;
    assert_eq!(clear.status.code(), Some(3), "{}", stderr(&clear));
}

#[tokio::test]
async fn a_key_that_the_broker_does_not_know_is_refused_and_not_shown() {
    let mut fleet = Fleet::builder().with_keys().workers("probe", 0).start().await;
    let queues = text(&fleet.folder().join("queues.toml"));
    let seed = fleet.nats.keys().expect("keys").seed("provision");
    fleet.nats.kill();
    let stranger = Fleet::builder().with_keys().workers("probe", 0).start().await;
    let url = stranger.nats.url();
    let mut provision = Command::new(program("workfleet"));
    provision.args(["provision", "--queues", &queues, "--nats", &url]).kill_on_drop(true);
    provision.envs(fleet.nats.keys().expect("keys").variables("provision"));
    let refused = provision.env("WORKFLEET_NATS_CONNECT_TIMEOUT", "200ms").output().await.expect("the program starts");
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(5), "{said}");
    assert!(said.contains("refuses the login") && !said.contains(&seed), "{said}");
}

#[tokio::test]
async fn commands_speak_tls_and_bring_the_token_of_a_file() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().expect("a folder");
    let [tokens, token] = ["tokens.toml", "token"].map(|name| text(&folder.path().join(name)));
    let mut mint = Command::new(program("workfleet"));
    mint.args(["token", "--name", "desk", "--queue", "probe", "--may", "submit", "--may", "read"]);
    let minted = mint.args(["--tokens", &tokens, "--out", &token]).output().await.expect("the program starts");
    assert!(minted.status.success(), "{}", stderr(&minted));
    let fleet = Fleet::builder().over_tls(&authority).variable("WORKFLEET_TOKENS_FILE", &tokens).start().await;
    let payload = fleet.logged(&Probe::echo("typed")).to_string();

    let done = fleet.command(&["submit", "probe", &payload, "--wait", "--token-file", &token]).await;
    assert!(done.status.success(), "{}", stderr(&done));

    let unknown = fleet.command(&["submit", "probe", &payload]).await;
    assert_eq!(unknown.status.code(), Some(5), "{}", stderr(&unknown));
    assert!(stderr(&unknown).contains("HTTP 401") && stderr(&unknown).contains("--token-file"), "{}", stderr(&unknown));

    let arguments = ["queues", "--token-file", &token, "--ca-file", &text(&stranger.ca_file())];
    let untrusted = fleet.command(&arguments).await;
    assert_eq!(untrusted.status.code(), Some(2), "{}", stderr(&untrusted));
    let said = stderr(&untrusted);
    assert!(said.contains("invalid peer certificate") && said.contains("--ca-file"), "{said}");
    let clear = fleet.command(&["queues", "--url", &fleet.http.url().replace("https", "http")]).await;
    assert!(stderr(&clear).contains("https://"), "{}", stderr(&clear));
    let secret = std::fs::read_to_string(&token).expect("the token");
    for output in [done, unknown, untrusted, clear] {
        assert!(!stderr(&output).contains(secret.trim()));
    }
}
