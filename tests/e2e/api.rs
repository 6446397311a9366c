use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::Command;
use workfleet_tests::{Fleet, program, workspace};

/// Beyond the time that the run is given: for its start, its last requests, and its report.
const MARGIN: Duration = Duration::from_secs(120);

/// Where a run is not told what else to do.
const SECONDS: u64 = 180;

/// What must hold for every answer, whatever was asked; the first but one is in tests/api/hooks.py. Whether data that the
/// document allows is taken is not among it: a queue may be full, a key used before, and no schema can say that.
const CHECKS: &str = "not_a_server_error,server_errors_are_the_workers,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,negative_data_rejection,\
                      missing_required_header,unsupported_method,allow_header_conformance,ignored_auth";

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// A token for everything, so that what is asked without one shows who is let in.
async fn token(file: &Path) -> String {
    let mut command = Command::new(program("workfleet"));
    command.args(["token", "--name", "api", "--queue", "*"]).arg("--tokens").arg(file).kill_on_drop(true);
    let output = command.args(["submit", "read", "scale", "operate"].map(|action| format!("--may={action}"))).output();
    let output = output.await.expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a token is text").trim().to_owned()
}

/// The dispatcher's own document says what may be asked, so routes that are added are tried with no change here. Most
/// queues have no worker: what would be made up for `webhook` and `email` must reach nobody.
#[tokio::test]
#[ignore = "make api-test: it needs schemathesis, and minutes"]
async fn every_answer_is_as_the_document_says() {
    let folder = TempDir::with_prefix("workfleet-api-").expect("a temporary folder");
    let tokens = folder.path().join("tokens.toml");
    let token = token(&tokens).await;
    let fleet = Fleet::builder()
        .queue("thumbnail", |queue| queue)
        .queue("webhook", |queue| queue)
        .queue("email", |queue| queue)
        .workers("probe", 0)
        .workers("thumbnail", 1)
        .variable("WORKFLEET_TOKENS_FILE", &tokens.display().to_string())
        .start()
        .await;
    let seconds = number("API_SECONDS").unwrap_or(SECONDS);
    let seed = number("API_SEED").unwrap_or_else(|| u64::from(rand::random::<u32>()));
    println!("API_SEED={seed} API_SECONDS={seconds} {}", fleet.http.url());
    let tools = workspace().join(".tools/schemathesis");
    let mut command = Command::new("python3");
    command
        .envs([("PYTHONPATH", tools.as_os_str()), ("PYTHONDONTWRITEBYTECODE", "1".as_ref())])
        .current_dir(workspace().join("tests/api"))
        .args(["-m", "schemathesis.cli", "run", &format!("{}/openapi.json", fleet.http.url())])
        .args(["--header", &format!("Authorization: Bearer {token}"), "--checks", CHECKS])
        .args(["--max-time", &seconds.to_string(), "--seed", &seed.to_string(), "--request-timeout", "75"])
        .args(["--generation-database", "none", "--no-color", "--continue-on-failure"])
        .args(number("API_EXAMPLES").map(|most| format!("--max-examples={most}")))
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let run = tokio::time::timeout(Duration::from_secs(seconds) + MARGIN, command.status()).await;
    let status = run.expect("it ends in time").expect("python3 starts");
    // What was made up may have been hostile: the fleet is as well as before.
    fleet.http.get("/readyz").send().await.expect(200);
    assert!(status.success(), "{status}; to see it again: make api-test API_SEED={seed}");
}
