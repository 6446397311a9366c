//! A file of tokens, made by the command that operators use.

use std::path::PathBuf;

use tempfile::TempDir;
use workfleet_tests::program;

/// A tokens file in a folder of its own.
pub(super) struct Keyring {
    folder: TempDir,
}

impl Keyring {
    pub(super) fn new() -> Self {
        Self { folder: TempDir::with_prefix("workfleet-keyring-").expect("a temporary folder") }
    }

    /// Where the file is, as a variable has it.
    pub(super) fn path(&self) -> String {
        self.file().display().to_string()
    }

    pub(super) fn file(&self) -> PathBuf {
        self.folder.path().join("tokens.toml")
    }

    /// Adds a token, and gives it.
    pub(super) async fn token(&self, name: &str, queues: &[&str], may: &[&str]) -> String {
        let mut arguments = vec!["--name", name];
        queues.iter().for_each(|queue| arguments.extend(["--queue", *queue]));
        may.iter().for_each(|action| arguments.extend(["--may", *action]));
        self.mint(&arguments).await
    }

    /// Adds a token whose time is over already.
    pub(super) async fn expired_token(&self, name: &str, queue: &str) -> String {
        self.mint(&["--name", name, "--queue", queue, "--may", "read", "--expires-in", "0s"]).await
    }

    async fn mint(&self, arguments: &[&str]) -> String {
        let mut command = tokio::process::Command::new(program("workfleet"));
        command.arg("token").args(arguments).arg("--tokens").arg(self.file()).kill_on_drop(true);
        let output = command.output().await.expect("the program starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("a token is text").trim().to_owned()
    }
}
