//! `workfleet watch`: follows a task to its end.

use std::io::IsTerminal;

use clap::Args;
use jiff::Timestamp;

use super::fault::Fault;
use super::follow::follow;
use super::print;
use super::progress::Progress;
use super::remote::Remote;

/// Follow a task until it has ended
///
/// On a terminal a bar moves, and the ended task is shown; else one line is printed for each change (with --json, the
/// task as one line of JSON). A connection that breaks is taken up again where it was.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  workfleet watch thumbnail_01jd7zk2v0e6tr4y8m3q5x9abc --json | jq -r .state")]
pub(crate) struct Watch {
    /// The task's id
    id: String,
    #[command(flatten)]
    pub(super) remote: Remote,
}

impl Watch {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        let for_person = std::io::stdout().is_terminal() && std::io::stderr().is_terminal() && !self.remote.json;
        let task = if for_person {
            let progress = Progress::start("connecting");
            let followed = follow(&client, &self.id, |task| {
                progress.show(task);
                Ok(())
            })
            .await;
            progress.clear();
            let task = followed?;
            task.show()?;
            task
        } else {
            let json = self.remote.json;
            follow(&client, &self.id, |task| {
                if json { print::json_line(&task.document) } else { print::line(&task.stamped_line(Timestamp::now())) }
            })
            .await?
        };
        task.verdict()
    }
}
