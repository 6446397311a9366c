mod grpc;
mod jwt;
mod keyring;
mod operators;
mod rotation;

use serde_json::json;
use workfleet_tests::{Answer, Fleet, FleetBuilder, Request, Traces, program};

use keyring::Keyring;

const TASKS: &str = "/v1/queues/probe/tasks";
/// The id of a task that does not exist, in a queue that does.
const ELSEWHERE: &str = "thumbnail_01h455vb4pex5vsknk084sn02q";

/// Two queues, and nobody who works: nothing here needs a worker.
fn builder() -> FleetBuilder {
    Fleet::builder().workers("probe", 0).queue("thumbnail", |queue| queue)
}

async fn fleet(keyring: &Keyring) -> Fleet {
    builder().variable("WORKFLEET_TOKENS_FILE", &keyring.path()).start().await
}

trait Bearing {
    fn bearing(self, token: &str) -> Self;
}

impl Bearing for Request {
    fn bearing(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }
}

async fn get(fleet: &Fleet, path: &str, token: &str) -> Answer {
    fleet.http.get(path).bearing(token).send().await
}

async fn submit(fleet: &Fleet, queue: &str, token: &str) -> Answer {
    fleet.http.post(&format!("/v1/queues/{queue}/tasks")).json(&json!({})).bearing(token).send().await
}

#[tokio::test]
async fn strangers_are_told_that_they_are_strangers_and_nothing_else() {
    let keyring = Keyring::new();
    let product = keyring.token("product", &["probe"], &["submit", "read"]).await;
    let expired = keyring.expired_token("late", "probe").await;
    let mut fleet = fleet(&keyring).await;
    let paths = [
        "/v1/queues",
        "/v1/queues/probe",
        "/v1/queues/nowhere",
        "/v1/scale/probe",
        "/metrics",
        "/openapi.json",
        "/",
        "/v1/nothing",
        "/v1/tasks/x",
        "/v1/blobs/probe_x",
        TASKS,
    ];
    for path in paths {
        let answer = fleet.http.get(path).send().await;
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"workfleet\""), "{path}");
        let nobody = answer.expect_problem(401, "unauthenticated");
        let answer = get(&fleet, path, "wf_wrong").await;
        let challenge = answer.header("www-authenticate").unwrap_or_default().to_owned();
        assert!(challenge.contains("error=\"invalid_token\""), "{path}: {challenge}");
        let wrong = answer.expect_problem(401, "unauthenticated");
        assert!(nobody.get("known").is_none() && wrong.get("known").is_none(), "{nobody} {wrong}");
        let late = get(&fleet, path, &expired).await.expect_problem(401, "unauthenticated");
        assert!(late["detail"].as_str().is_some_and(|detail| detail.contains("expired")), "{late}");
    }
    for path in ["/livez", "/readyz"] {
        fleet.http.get(path).send().await.expect(200);
    }
    fleet.http.post(TASKS).json(&json!({})).send().await.expect_problem(401, "unauthenticated");
    fleet.http.delete("/v1/queues").send().await.expect_problem(401, "unauthenticated");
    let waiting = get(&fleet, "/v1/scale/probe", &product).await.expect(200).json();
    assert_eq!(waiting["waiting"], 0, "{waiting}");
    submit(&fleet, "probe", &product).await.expect(202);
    get(&fleet, "/v1/nothing", &product).await.expect_problem(404, "not_found");
    let answer = fleet.http.delete("/v1/queues").bearing(&product).send().await;
    assert_eq!(answer.header("allow"), Some("GET, HEAD"));
    answer.expect_problem(405, "method_not_allowed");
    // Who has an old token is named, so that it can be replaced; whoever has none is only counted.
    let log = fleet.dispatcher().log();
    assert!(log.lines().any(|line| line.contains("late") && line.contains("has expired")), "{log}");
    assert!(!log.contains("the token is not known"), "{log}");
}

#[tokio::test]
async fn a_token_opens_its_queues_and_no_others() {
    let keyring = Keyring::new();
    let product = keyring.token("product", &["probe"], &["submit", "read"]).await;
    let fleet = fleet(&keyring).await;
    let task = submit(&fleet, "probe", &product).await.expect(202).json();
    let id = task["id"].as_str().expect("an id").to_owned();
    get(&fleet, &format!("/v1/tasks/{id}"), &product).await.expect(200);
    get(&fleet, TASKS, &product).await.expect(200);
    get(&fleet, "/v1/queues/probe", &product).await.expect(200);
    get(&fleet, "/v1/scale/probe", &product).await.expect(200);
    get(&fleet, &format!("/v1/tasks/{id}/result"), &product).await.expect_problem(409, "not_ended");
    let put = |id: &str| fleet.http.put(&format!("/v1/blobs/{id}")).bytes("application/octet-stream", "x");
    put("probe_x").bearing(&product).send().await.expect(201);
    get(&fleet, "/v1/blobs/probe_x", &product).await.expect(200);
    let post = |query: &str| fleet.http.post(&format!("/v1/blobs{query}")).bytes("application/octet-stream", "x");
    post("?queue=thumbnail").bearing(&product).send().await.expect_problem(403, "forbidden");
    post("?queue=probe&queue=thumbnail").bearing(&product).send().await.expect_problem(403, "forbidden");
    post("?%71ueue=thumbnail").bearing(&product).send().await.expect_problem(403, "forbidden");
    post("").bearing(&product).send().await.expect_problem(400, "invalid_option");
    post("?queue=probe").bearing(&product).send().await.expect(201);
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_ours_are_one_answer() {
    let keyring = Keyring::new();
    let product = keyring.token("product", &["probe"], &["submit", "read"]).await;
    let mut fleet = fleet(&keyring).await;
    let put = |id: &str| fleet.http.put(&format!("/v1/blobs/{id}")).bytes("application/octet-stream", "x");
    let [elsewhere, nowhere] = [ELSEWHERE, "nowhere_01h455vb4pex5vsknk084sn02q"];
    for (queue, id) in [("thumbnail", elsewhere), ("nowhere", nowhere), ("Prob%65", "x"), ("%FF", "%FF"), ("*", "*")] {
        submit(&fleet, queue, &product).await.expect_problem(403, "forbidden");
        let blob = format!("{}_x", id.split('_').next().unwrap_or_default());
        let paths = [
            format!("/v1/queues/{queue}"),
            format!("/v1/queues/{queue}/tasks"),
            format!("/v1/scale/{queue}"),
            format!("/v1/tasks/{id}"),
            format!("/v1/tasks/{id}/result"),
            format!("/v1/tasks/{id}/events"),
            format!("/v1/blobs/{blob}"),
        ];
        for path in paths {
            let answer = get(&fleet, &path, &product).await;
            assert!(
                answer.header("www-authenticate").is_some_and(|text| text.contains("insufficient_scope")),
                "{path}"
            );
            answer.expect_problem(403, "forbidden");
        }
        put(&blob).bearing(&product).send().await.expect_problem(403, "forbidden");
        let call = fleet.http.post(&format!("/v1/queues/{queue}/calls")).json(&json!({})).bearing(&product);
        call.send().await.expect_problem(403, "forbidden");
        let blob = fleet.http.delete(&format!("/v1/blobs/{blob}")).bearing(&product);
        blob.send().await.expect_problem(403, "forbidden");
    }
    let log = fleet.dispatcher().log();
    assert!(log.contains("workfleet.client") && log.contains("product"), "{log}");
    assert!(!log.contains(&product), "a token in the log");
}

#[tokio::test]
async fn lists_show_what_the_token_may_see() {
    let keyring = Keyring::new();
    let product = keyring.token("product", &["probe"], &["submit", "read"]).await;
    let all = keyring.token("all", &["*"], &["read", "submit"]).await;
    let fleet = fleet(&keyring).await;
    let names = async |token: &str| {
        let list = get(&fleet, "/v1/queues", token).await.expect(200).json();
        let queues = list["queues"].as_array().expect("a list").clone();
        queues.iter().map(|queue| queue["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&product).await, ["probe"]);
    assert_eq!(names(&all).await, ["probe", "thumbnail"]);
    let document = get(&fleet, "/openapi.json", &product).await.expect(200).text();
    assert!(document.contains("/v1/queues/probe/tasks") && !document.contains("/v1/queues/thumbnail"));
    let problem = get(&fleet, "/v1/queues/nowhere", &all).await.expect_problem(404, "unknown_queue");
    assert_eq!(problem["known"], json!(["probe", "thumbnail"]));

    // Metrics are about all queues.
    get(&fleet, "/metrics", &product).await.expect_problem(403, "forbidden");
    let metrics = get(&fleet, "/metrics", &all).await.expect(200).text();
    assert!(metrics.contains("workfleet_auth_rejected_total{reason=\"forbidden\""), "{metrics}");
}

#[tokio::test]
async fn a_token_that_names_a_queue_which_is_not_there_learns_of_no_other() {
    let keyring = Keyring::new();
    let early = keyring.token("early", &["mail"], &["submit", "read"]).await;
    let fleet = fleet(&keyring).await;
    let problem = submit(&fleet, "mail", &early).await.expect_problem(404, "unknown_queue");
    assert!(!problem.to_string().contains("probe") && !problem.to_string().contains("thumbnail"), "{problem}");
}

#[tokio::test]
async fn a_token_is_for_its_actions_alone() {
    let keyring = Keyring::new();
    let reader = keyring.token("reader", &["probe"], &["read"]).await;
    let writer = keyring.token("writer", &["probe"], &["submit"]).await;
    let scaler = keyring.token("scaler", &["*"], &["scale"]).await;
    let fleet = fleet(&keyring).await;
    let id = submit(&fleet, "probe", &writer).await.expect(202).json()["id"].as_str().expect("an id").to_owned();
    let task = format!("/v1/tasks/{id}");
    for token in [&reader, &scaler] {
        submit(&fleet, "probe", token).await.expect_problem(403, "forbidden");
        let blob = fleet.http.put("/v1/blobs/probe_x").bytes("application/octet-stream", "x").bearing(token);
        blob.send().await.expect_problem(403, "forbidden");
    }
    for token in [&writer, &scaler] {
        for path in [task.as_str(), TASKS, "/v1/queues", "/v1/queues/probe", "/openapi.json", "/metrics"] {
            get(&fleet, path, token).await.expect_problem(403, "forbidden");
        }
    }
    for token in [&reader, &scaler] {
        get(&fleet, "/v1/scale/probe", token).await.expect(200);
    }
    get(&fleet, "/v1/scale/probe", &writer).await.expect_problem(403, "forbidden");
    get(&fleet, &task, &reader).await.expect(200);
}

#[tokio::test]
async fn a_trace_says_who_asked() {
    let (keyring, traces) = (Keyring::new(), Traces::start().await);
    let product = keyring.token("product", &["probe"], &["submit"]).await;
    let builder = builder().traces_to(traces.endpoint());
    let fleet = builder.variable("WORKFLEET_TOKENS_FILE", &keyring.path()).start().await;
    let task = submit(&fleet, "probe", &product).await.expect(202).json();
    let span = traces.one(task["trace_id"].as_str().expect("a trace"), "POST /v1/queues/{queue}/tasks").await;
    assert_eq!(span.attribute("workfleet.client"), "product");
    let task = fleet.grpc().await.submit(grpc::bearing(&product, grpc::submit("probe"))).await.expect("stored");
    let span = traces.one(&task.into_inner().trace_id, "workfleet.v1.Dispatcher/Submit").await;
    assert_eq!(span.attribute("workfleet.client"), "product");
    assert!(traces.all().iter().all(|span| !format!("{span:?}").contains(&product)), "a token in a span");
}

#[tokio::test]
async fn headers_that_nobody_sends_in_good_faith() {
    let keyring = Keyring::new();
    let product = keyring.token("product", &["probe"], &["read"]).await;
    let fleet = fleet(&keyring).await;
    let line = "GET /v1/queues HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
    let long = "a".repeat(8 << 10);
    let good = format!("authorization: Bearer {product}\r\n");
    let headers = [
        format!("authorization: Bearer {long}\r\n"),
        format!("authorization: Bearer {long}{long}{long}\r\n"),
        "authorization: Bearer \u{e9}t\u{e9}\r\n".to_owned(),
        format!("{good}{good}"),
        format!("{good}authorization: Basic eDp5\r\n"),
        format!("authorization: {product}\r\n"),
        format!("authorization: Basic {product}\r\n"),
        format!("authorization: Bearer {product} {product}\r\n"),
        format!("authorization: Bearer {product},\r\n"),
        "authorization: Bearer\r\n".to_owned(),
        "authorization: Bearer ..\r\n".to_owned(),
        format!("x-authorization: Bearer {product}\r\n"),
    ];
    for header in headers {
        let answer = fleet.http.raw(format!("{line}{header}\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{header:.60}: {answer:.300}");
    }
    let query = fleet.http.get(&format!("/v1/queues?access_token={product}")).send().await;
    query.expect_problem(401, "unauthenticated");
    let answer = fleet.http.raw(format!("{line}{good}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer:.300}");
}

#[tokio::test]
async fn a_stranger_with_a_large_body_is_answered_before_it_is_sent() {
    let keyring = Keyring::new();
    keyring.token("product", &["probe"], &["read"]).await;
    let fleet = fleet(&keyring).await;
    let head = "PUT /v1/blobs/probe_x HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n";
    // Nothing of the body ever comes.
    let answer = fleet.http.raw(format!("{head}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer:.300}");
    let asked = fleet.http.raw(format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).await;
    assert!(asked.starts_with("HTTP/1.1 401 "), "it was asked for its body: {asked:.300}");
}

#[tokio::test]
async fn nobody_serves_other_machines_without_authentication() {
    let mut command = tokio::process::Command::new(program("workfleet"));
    command.args(["serve", "--http", "0.0.0.0:0"]).env("WORKFLEET_GRPC_ADDR", "[::]:0").env("WORKFLEET_PREFIX", "?");
    command.env("WORKFLEET_JWT_ISSUER", "https://issuer").kill_on_drop(true);
    let output = command.output().await.expect("the program starts");
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr);
    for part in [
        "WORKFLEET_HTTP_ADDR=0.0.0.0:0: authentication is off only on loopback",
        "WORKFLEET_GRPC_ADDR=[::]:0: auth",
        "WORKFLEET_TOKENS_FILE",
        "WORKFLEET_PREFIX",
        "WORKFLEET_JWT_ISSUER",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
