use serde_json::{Value, json};
use workfleet_tests::{Fleet, Probe, QueueSettings, eventually};

async fn audit(fleet: &Fleet, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = fleet.command(&[&["audit", "--json"], arguments].concat()).await;
    let said = [output.stdout.clone(), output.stderr].concat();
    let document = serde_json::from_slice(&output.stdout);
    (output.status.code(), document.unwrap_or_else(|_| json!(String::from_utf8_lossy(&said))))
}

#[tokio::test]
async fn a_task_that_is_deleted_by_hand_is_named_lost_by_the_ledger_of_its_submit() {
    let fleet = Fleet::builder().workers("probe", 1).start().await;
    let ledger = fleet.folder().join("accepted.ndjson").display().to_string();
    let submit = async |probe: &Probe, more: &[&str]| {
        let payload = fleet.logged(probe).to_string();
        let output = fleet.command(&[&["submit", "probe", &payload, "--log", &ledger], more].concat()).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let completed = submit(&Probe::echo("a"), &["--key", "first"]).await;
    let failed = submit(&Probe::echo("b").fails_with("told"), &[]).await;
    let later = submit(&Probe::echo("c"), &["--delay", "1h"]).await;
    fleet.completed(&completed).await;
    fleet.failed(&failed).await;
    eventually("the dead letter is stored", async || fleet.dead_letter(&failed).await).await;
    let text = std::fs::read_to_string(&ledger).expect("the ledger is there");
    let first: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!((&first["id"], &first["queue"], &first["key"]), (&json!(completed), &json!("probe"), &json!("first")));
    assert!(first["submitted_at"].is_string());

    let (code, whole) = audit(&fleet, &[&ledger]).await;
    assert_eq!((code, &whole["total"], &whole["lost"]), (Some(0), &json!(3), &json!([])), "{whole:#}");
    assert_eq!([&whole["completed"], &whole["failed"], &whole["scheduled"]], [&json!(1); 3]);

    let delay = fleet.jetstream().await.get_stream("DELAY_probe").await.expect("a stream");
    delay.purge().filter(format!("wf.delay.at.probe.{later}")).await.expect("purged");
    let (code, harmed) = audit(&fleet, &[&ledger]).await;
    assert_eq!((code, &harmed["lost"]), (Some(1), &json!([later])), "{harmed:#}");
    let words = fleet.command(&["audit", &ledger]).await;
    let words = String::from_utf8_lossy(&[words.stdout, words.stderr].concat()).into_owned();
    assert!(words.contains(&later) && words.contains("1 are lost"), "{words}");

    let elsewhere = fleet.folder().join("elsewhere").display().to_string();
    std::fs::write(&elsewhere, "other_01h455vb4pex5vsknk084sn02q\n").expect("written");
    let words = fleet.command(&["audit", &elsewhere]).await;
    let words = String::from_utf8_lossy(&words.stderr).into_owned();
    assert!(words.contains("none of them is known at") && words.contains("WORKFLEET_PREFIX"), "{words}");

    assert_eq!(audit(&fleet, &["/nowhere"]).await.0, Some(2));
    for none in [&["--queue", "probe"][..], &["--ledgers"]] {
        assert_eq!(audit(&fleet, none).await.0, Some(2), "the queue has no ledger");
    }
    std::fs::write(&ledger, "what is this\n").expect("written");
    assert_eq!(audit(&fleet, &[&ledger]).await.0, Some(2));
}

#[tokio::test]
async fn a_task_whose_line_cannot_be_written_is_told_as_accepted() {
    let fleet = Fleet::builder().workers("probe", 1).start().await;
    let payload = fleet.logged(&Probe::echo("a")).to_string();
    let output = fleet.command(&["submit", "probe", &payload, "--log", "/dev/full"]).await;
    let (id, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(6), "{id} {said}");
    assert!(said.contains("was accepted") && said.contains("/dev/full"), "{said}");
    fleet.completed(id.trim()).await;
}

#[tokio::test]
async fn a_fleet_with_keys_keeps_a_ledger_and_audits_it() {
    let fleet = Fleet::builder().with_keys().probe(QueueSettings::ledger).start().await;
    let id = fleet.submit(&Probe::echo("kept")).await;
    fleet.completed(&id).await;
    let (code, audited) = audit(&fleet, &["--queue", "probe"]).await;
    assert_eq!((code, &audited["completed"]), (Some(0), &json!(1)), "{audited:#}");
    let mut command = tokio::process::Command::new(workfleet_tests::program("workfleet"));
    command.args(["audit", "--ledgers"]).env("WORKFLEET_NATS_URL", fleet.nats.url());
    command.envs(fleet.nats.keys().expect("keys").variables("audit"));
    let output = command.kill_on_drop(true).output().await.expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let purged = fleet.command(&["queue", "purge", "probe", "--results", "--yes", "--reason", "a test"]).await;
    assert!(purged.status.success(), "{}", String::from_utf8_lossy(&purged.stderr));
    assert_eq!(audit(&fleet, &["--queue", "probe"]).await.1["lost"], json!([id]));
    assert_eq!(fleet.nats.violations(), Vec::<String>::new());
}
