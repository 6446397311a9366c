use mail_parser::{Message, MessageParser};
use serde_json::{Value, json};
use workfleet_tests::{Fleet, MailSink, program};

/// A good mail.
fn mail() -> Value {
    json!({
        "to": ["Ada <ada@example.net>"],
        "subject": "Grüße",
        "text": "Hello, Ada\n.\nbye\n",
        "html": "<p>Hello, Ada</p>",
    })
}

/// The good mail to somebody else.
fn mail_to(to: &[&str]) -> Value {
    let mut mail = mail();
    mail["to"] = json!(to);
    mail
}

async fn submit(fleet: &Fleet, mail: &Value) -> String {
    let answer = fleet.http.post("/v1/queues/email/tasks").json(mail).send().await.expect(202);
    answer.json()["id"].as_str().expect("a task has an id").to_owned()
}

fn parsed(mail: &[u8]) -> Message<'_> {
    MessageParser::default().parse(mail).expect("a mail parser opens it")
}

#[tokio::test]
async fn a_mail_arrives_with_both_parts_and_its_tasks_id() {
    let mut sink = MailSink::start(&[]).await;
    let fleet = sink.fleet().start().await;
    let mut request = mail();
    request["cc"] = json!(["bob@example.net"]);
    request["bcc"] = json!(["eve@example.net"]);
    request["headers"] = json!({ "List-Unsubscribe": "<https://example.org/leave>" });
    let id = submit(&fleet, &request).await;
    let task = fleet.completed(&id).await;
    assert_eq!(task["output"]["message_id"], format!("{id}@example.org"));
    assert!(task["output"]["response"].as_str().unwrap().starts_with("250"), "{task:#}");

    let mails = sink.taken(1).await;
    let message = parsed(&mails[0]);
    assert_eq!(message.message_id(), task["output"]["message_id"].as_str());
    assert_eq!(message.subject(), Some("Grüße"));
    assert_eq!(message.body_text(0).unwrap(), "Hello, Ada\r\n.\r\nbye\r\n");
    assert_eq!(message.body_html(0).unwrap(), "<p>Hello, Ada</p>");
    assert_eq!(message.from().unwrap().first().unwrap().address(), Some("shop@example.org"));
    assert_eq!(message.header_raw("List-Unsubscribe").map(str::trim), Some("<https://example.org/leave>"));
    let submitted_at = task["submitted_at"].as_str().unwrap();
    assert!(submitted_at.starts_with(message.date().unwrap().to_rfc3339().trim_end_matches('Z')), "{submitted_at}");

    let text = String::from_utf8(mails[0].clone()).unwrap();
    assert_eq!(text.matches("X-Envelope-To: ").count(), 3);
    assert_eq!(text.matches("eve@example.net").count(), 1, "in the envelope and nowhere else:\n{text}");
}

#[tokio::test]
async fn what_tries_to_smuggle_a_header_in_is_refused_and_never_sent() {
    let mut sink = MailSink::start(&[]).await;
    let fleet = sink.fleet().start().await;
    let evil = |text: &str| format!("{text}\r\nBcc: eve@example.net");
    let mut attacks = Vec::new();
    for (field, value, code) in [
        ("from", json!(evil("shop@example.org")), "invalid_address"),
        ("from", json!(evil("Shop") + " <shop@example.org>"), "invalid_address"),
        ("from", json!("shop@example.org>\r\nRCPT TO:<eve@example.net"), "invalid_address"),
        ("from", json!("boss@bank.example"), "from_not_allowed"),
        ("to", json!([evil("ada@example.net")]), "invalid_address"),
        ("to", json!(["ada@example.net, eve@example.net"]), "invalid_address"),
        ("to", json!([format!("\"{}\" <ada@example.net>", evil("Ada"))]), "invalid_address"),
        ("cc", json!([evil("ada@example.net")]), "invalid_address"),
        ("bcc", json!(["ada@example.net>\r\nDATA"]), "invalid_address"),
        ("reply_to", json!(evil("ada@example.net")), "invalid_address"),
        ("subject", json!(evil("Hello")), "invalid_subject"),
        ("subject", json!("Hello\nBcc: eve@example.net"), "invalid_subject"),
        ("subject", json!("Hello\rBcc: eve@example.net"), "invalid_subject"),
        ("subject", json!("Hello\u{0}"), "invalid_subject"),
        ("headers", json!({ "List-Help": evil("a") }), "invalid_header"),
        ("headers", json!({ "X-SMTPAPI": "{}" }), "invalid_header"),
        ("headers", json!({ "X-A\r\nBcc": "eve@example.net" }), "invalid_header"),
        ("headers", json!({ "X-A: a\nBcc": "eve@example.net" }), "invalid_header"),
        ("headers", json!({ "Bcc": "eve@example.net" }), "invalid_header"),
        ("headers", json!({ "Content-Type": "text/html" }), "invalid_header"),
    ] {
        let mut request = mail();
        request[field] = value;
        attacks.push((submit(&fleet, &request).await, code, request));
    }
    for (id, code, request) in attacks {
        let task = fleet.failed(&id).await;
        assert_eq!(task["failure"]["code"], code, "{request:#}");
        assert_eq!(task["attempt"], 1, "it is never tried again: {request:#}");
    }
    // What stands in a body is a body, whatever it looks like.
    let mut request = mail_to(&["last@example.net"]);
    request["text"] = json!("\r\n.\r\nMAIL FROM:<eve@example.net>\r\n");
    fleet.completed(&submit(&fleet, &request).await).await;
    let mails = sink.taken(1).await;
    assert_eq!(mails.len(), 1, "the sink has seen one mail");
    assert!(String::from_utf8_lossy(&mails[0]).contains("X-Envelope-To: <last@example.net>"));
}

#[tokio::test]
async fn a_mail_that_is_deferred_is_delivered_once_and_under_its_first_id() {
    let mut sink = MailSink::start(&["rcpt:ada@example.net=450x1", "end=451x1"]).await;
    let fleet = sink.fleet().start().await;
    let id = submit(&fleet, &mail()).await;
    let task = fleet.completed(&id).await;
    assert_eq!(task["attempt"], 3, "{task:#}");
    let mails = sink.taken(1).await;
    assert_eq!(mails.len(), 1);
    assert_eq!(parsed(&mails[0]).message_id(), Some(format!("{id}@example.org").as_str()));
}

#[tokio::test]
async fn what_the_server_says_decides_whether_a_mail_is_tried_again() {
    let rules = [
        "rcpt:later@example.net=452",
        "rcpt:never@example.net=550",
        "rcpt:drop@example.net=drop",
        "rcpt:hang@example.net=hang",
        "mail:login@example.org=530",
    ];
    let mut sink = MailSink::start(&rules).await;
    let fleet = sink.fleet().variable("WORKFLEET_SMTP_TIMEOUT", "1s").variable("WORKFLEET_SMTP_CONNECT_TIMEOUT", "1s");
    let fleet = fleet.start().await;
    let mut login = mail();
    login["from"] = json!("login@example.org");
    let mut ends = Vec::new();
    for (request, code, attempts) in [
        (mail_to(&["ada@example.net", "later@example.net"]), "deferred", 3),
        (mail_to(&["ada@example.net", "never@example.net", "later@example.net"]), "refused", 1),
        (mail_to(&["drop@example.net"]), "unreachable", 3),
        (mail_to(&["hang@example.net"]), "smtp_timeout", 3),
        (login, "auth_refused", 3),
    ] {
        ends.push((submit(&fleet, &request).await, code, attempts));
    }
    for (id, code, attempts) in ends {
        let task = fleet.failed(&id).await;
        assert_eq!(task["failure"]["code"], code, "{task:#}");
        assert_eq!(task["attempt"], attempts, "{task:#}");
        if code == "refused" {
            let message = task["failure"]["message"].as_str().unwrap();
            assert!(message.contains("never@example.net") && message.contains("550"), "{message}");
        }
    }
    assert_eq!(sink.mails().len(), 0, "nobody gets a mail that one recipient does not get");
    // No answer to a mail that was given up is taken for one to the next.
    let id = submit(&fleet, &mail()).await;
    fleet.completed(&id).await;
    let mails = sink.taken(1).await;
    assert_eq!(parsed(&mails[0]).message_id(), Some(format!("{id}@example.org").as_str()));
}

#[tokio::test]
async fn a_worker_that_dies_after_the_mail_went_out_sends_the_same_mail_again() {
    let mut sink = MailSink::start(&["end=hangx1"]).await;
    let mut fleet = sink.fleet().start().await;
    let id = submit(&fleet, &mail()).await;
    sink.taken(1).await;
    fleet.workers[0].replace();
    let task = fleet.completed(&id).await;
    assert_eq!(task["attempt"], 2, "{task:#}");
    let mails = sink.taken(2).await;
    let (first, again) = (parsed(&mails[0]), parsed(&mails[1]));
    assert_eq!(first.message_id(), Some(format!("{id}@example.org").as_str()));
    assert_eq!((first.message_id(), first.date()), (again.message_id(), again.date()));
    assert_eq!(fleet.observer.stores_of(&id).await, 1);
}

#[tokio::test]
async fn a_worker_that_drains_sends_what_it_has_begun() {
    let mut sink = MailSink::start(&["data=wait1500"]).await;
    let mut fleet = sink.fleet().start().await;
    let id = submit(&fleet, &mail()).await;
    fleet.in_state(&id, "running").await;
    fleet.workers[0].drain().await;
    assert_eq!(sink.taken(1).await.len(), 1);
    let task = fleet.completed(&id).await;
    assert_eq!(task["attempt"], 1, "{task:#}");
}

#[tokio::test]
async fn a_login_that_is_refused_waits_for_a_better_one() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let mut sink = MailSink::start(&["connect=554x1", "auth=535x1"]).await;
    let fleet = sink.fleet().variable("WORKFLEET_SMTP_USER", "shop");
    let fleet = fleet.variable("WORKFLEET_SMTP_PASSWORD_FILE", password.to_str().unwrap()).start().await;
    let id = submit(&fleet, &mail()).await;
    let task = fleet.completed(&id).await;
    assert_eq!(task["attempt"], 3, "{task:#}");
    assert_eq!(sink.taken(1).await.len(), 1);
}

#[tokio::test]
async fn a_worker_without_a_server_says_all_that_is_missing_and_does_not_start() {
    let run = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(program("workfleet-email"));
        command.args(arguments).env_clear().env("WORKFLEET_SLOTS", "0").kill_on_drop(true).output().await.unwrap()
    };
    let failed = run(&[]).await;
    let words = String::from_utf8_lossy(&failed.stderr);
    assert!(!failed.status.success());
    for name in ["WORKFLEET_SMTP_HOST", "WORKFLEET_EMAIL_FROM", "WORKFLEET_SLOTS"] {
        assert!(words.contains(name), "{name} in {words}");
    }
    let help = run(&["--help"]).await;
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("WORKFLEET_SMTP_PASSWORD_FILE"));
}
