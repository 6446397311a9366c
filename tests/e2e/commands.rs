use serde_json::{Value, json};
use workfleet_tests::{Fleet, Probe};

fn stdout(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn stderr(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_person_submits_gets_watches_and_calls() {
    let fleet = Fleet::start().await;
    let payload = fleet.logged(&Probe::echo("typed")).to_string();
    let output = fleet.command(&["submit", "probe", &payload]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let id = stdout(&output);
    assert!(id.starts_with("probe_") && !id.contains(char::is_whitespace), "the id alone: {id}");

    let watched = fleet.command(&["watch", &id]).await;
    assert!(watched.status.success(), "{}", stderr(&watched));
    let output = fleet.command(&["get", &id, "--json"]).await;
    let task: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&task["state"], &task["output"]["echo"]), (&json!("completed"), &json!("typed")));

    let called = fleet.command(&["call", "probe", &payload]).await;
    assert!(called.status.success() && stdout(&called).contains("typed"), "{}", stderr(&called));
    let queues = fleet.command(&["queues"]).await;
    assert!(stdout(&queues).contains("probe"), "{}", stdout(&queues));
}

#[tokio::test]
async fn exit_codes_tell_a_script_how_it_went() {
    let fleet = Fleet::start().await;
    let failing = fleet.logged(&Probe::echo("x").fails_with("bad_image")).to_string();
    let failed = fleet.command(&["submit", "probe", &failing, "--wait"]).await;
    assert_eq!(failed.status.code(), Some(1), "{}", stderr(&failed));
    let slow = fleet.logged(&Probe::echo("x").sleeps_ms(5_000)).to_string();
    let late = fleet.command(&["submit", "probe", &slow, "--wait=300ms"]).await;
    assert_eq!(late.status.code(), Some(4), "{}", stderr(&late));
    assert!(stderr(&late).contains("it goes on"), "{}", stderr(&late));
    let nowhere = fleet.command(&["submit", "nowhere", "{}"]).await;
    assert!(!nowhere.status.success());
    assert!(stderr(&nowhere).contains("probe"), "the known queues are named: {}", stderr(&nowhere));
    let nonsense = fleet.command(&["submit"]).await;
    assert_eq!(nonsense.status.code(), Some(2), "{}", stderr(&nonsense));
}

#[tokio::test]
async fn provisioning_twice_changes_nothing() {
    let fleet = Fleet::builder().workers("probe", 0).start().await;
    let file = fleet.folder().join("queues.toml").display().to_string();
    let output = fleet.command(&["provision", "--queues", &file, "--json"]).await;
    assert!(output.status.success(), "{}", stderr(&output));
    let report = stdout(&output);
    assert!(!report.contains("created") && !report.contains("updated"), "{report}");
}
