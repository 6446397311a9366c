use std::time::Duration;

use workfleet_tests::{Fleet, eventually};

use super::{fleet, get, submit};
use crate::auth::keyring::Keyring;

#[tokio::test]
async fn tokens_come_and_go_without_a_restart() {
    let keyring = Keyring::new();
    let old = keyring.token("product", &["probe"], &["submit", "read"]).await;
    let mut fleet = fleet(&keyring).await;
    submit(&fleet, "probe", &old).await.expect(202);
    let with_old = std::fs::read_to_string(keyring.file()).expect("a file");

    let new = keyring.token("product", &["*"], &["submit", "read"]).await;
    eventually("the new token is taken", async || (submit(&fleet, "probe", &new).await.status == 202).then_some(()))
        .await;
    submit(&fleet, "probe", &old).await.expect(202);

    let with_both = std::fs::read_to_string(keyring.file()).expect("a file");
    let with_new = with_both.strip_prefix(&with_old).expect("the new one is behind the old one");
    std::fs::write(keyring.file(), with_new).expect("a file");
    let gone = async || (get(&fleet, "/v1/queues", &old).await.status == 401).then_some(());
    eventually("the old token is refused", gone).await;
    submit(&fleet, "probe", &new).await.expect(202);
    is_stale(&fleet, &new, 0).await;

    // Somebody's slip of the pen locks nobody out, and is told.
    std::fs::write(keyring.file(), "[[token]]\nname = ").expect("a file");
    eventually("the broken file is reported", async || {
        fleet.dispatcher().log().contains("those from before are still used").then_some(())
    })
    .await;
    submit(&fleet, "probe", &new).await.expect(202);
    submit(&fleet, "probe", &old).await.expect_problem(401, "unauthenticated");
    is_stale(&fleet, &new, 1).await;
    std::fs::write(keyring.file(), with_new).expect("a file");
    is_stale(&fleet, &new, 0).await;
    std::fs::remove_file(keyring.file()).expect("it is there");
    is_stale(&fleet, &new, 1).await;
    submit(&fleet, "probe", &new).await.expect(202);
}

/// Waits until the metrics say so.
async fn is_stale(fleet: &Fleet, token: &str, stale: u8) {
    let said = async || {
        let metrics = get(fleet, "/metrics", token).await.expect(200).text();
        let mut lines = metrics.lines().filter(|line| line.starts_with("workfleet_auth_file_stale{"));
        lines.any(|line| line.contains("file=\"tokens\"") && line.ends_with(&format!(" {stale}"))).then_some(())
    };
    eventually(&format!("the tokens are told to be stale: {stale}"), said).await;
}

#[tokio::test]
async fn the_last_token_can_be_revoked_and_another_made() {
    let keyring = Keyring::new();
    let last = keyring.token("product", &["probe"], &["read"]).await;
    let fleet = fleet(&keyring).await;
    get(&fleet, "/v1/queues", &last).await.expect(200);
    // An empty file may be one that is being written.
    std::fs::write(keyring.file(), "").expect("a file");
    tokio::time::sleep(Duration::from_secs(3)).await;
    get(&fleet, "/v1/queues", &last).await.expect(200);
    std::fs::write(keyring.file(), "# Nobody, for now.\ntoken = []\n").expect("a file");
    let gone = async || (get(&fleet, "/v1/queues", &last).await.status == 401).then_some(());
    eventually("the last token is refused", gone).await;
    let new = keyring.token("product", &["probe"], &["read"]).await;
    eventually("the new token is taken", async || (get(&fleet, "/v1/queues", &new).await.status == 200).then_some(()))
        .await;
    get(&fleet, "/v1/queues", &last).await.expect_problem(401, "unauthenticated");
}

#[tokio::test]
async fn a_folder_that_is_replaced_as_a_cluster_does_is_noticed() {
    let keyring = Keyring::new();
    let old = keyring.token("product", &["probe"], &["read"]).await;
    // tokens.toml -> ..data/tokens.toml, ..data -> 1
    let folder = keyring.file().parent().expect("a folder").to_owned();
    let place = |number: &str| {
        std::fs::create_dir(folder.join(number)).expect("a folder");
        std::fs::copy(keyring.file(), folder.join(number).join("tokens.toml")).expect("a copy");
    };
    place("1");
    std::os::unix::fs::symlink("1", folder.join("..data")).expect("a link");
    let linked = folder.join("linked.toml");
    std::os::unix::fs::symlink("..data/tokens.toml", &linked).expect("a link");
    let fleet = super::builder().variable("WORKFLEET_TOKENS_FILE", &linked.display().to_string()).start().await;
    get(&fleet, "/v1/queues", &old).await.expect(200);

    std::fs::remove_file(keyring.file()).expect("it is there");
    let new = keyring.token("product", &["probe"], &["read"]).await;
    place("2");
    std::os::unix::fs::symlink("2", folder.join("..data_tmp")).expect("a link");
    std::fs::rename(folder.join("..data_tmp"), folder.join("..data")).expect("the link is replaced");
    eventually("the new token is taken", async || (get(&fleet, "/v1/queues", &new).await.status == 200).then_some(()))
        .await;
    get(&fleet, "/v1/queues", &old).await.expect_problem(401, "unauthenticated");
}
