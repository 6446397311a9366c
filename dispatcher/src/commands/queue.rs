//! `workfleet queue purge` and `workfleet queue retire`: what empties a queue, or removes it.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::{Args, Subcommand};
use serde_json::json;
use workfleet_dispatcher::operations::{self, Action, Caller, Operation};
use workfleet_dispatcher::streams::{self, InUse, Part, Removal};
use workfleet_link::broker::{Broker, BrokerConfig};
use workfleet_link::config::Vars;
use workfleet_proto::id::QueueName;

use super::fault::{Fault, Form};
use super::print;
use super::provision;

/// Empty a queue, or remove it
///
/// Speaks to the broker itself, as `provision` does.
#[derive(Debug, Args)]
pub(crate) struct Queue {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    Purge(Purge),
    Retire(Retire),
}

/// Remove what waits in a queue, its dead letters, or its results
///
/// Tasks that were purged can be submitted again, under the same idempotency keys too: with the same payload, since a
/// key is remembered until its result would have gone. With --results the keys go too. Payloads in the object store are
/// left to the next sweep.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  workfleet queue purge thumbnail --dry-run
  workfleet queue purge thumbnail --dead --yes")]
struct Purge {
    /// The queue
    queue: QueueName,
    /// Tasks that wait, in the queue or for their time; this is what goes where nothing else is named
    #[arg(long)]
    waiting: bool,
    /// Dead letters
    #[arg(long)]
    dead: bool,
    /// Results with their outputs, and idempotency keys
    #[arg(long)]
    results: bool,
    #[command(flatten)]
    how: How,
}

/// Remove a queue with all that it holds: its settings, streams, blobs, dead letters and contract
///
/// Dispatchers refuse new tasks for it within two seconds; the rest goes some seconds later. `workfleet provision`
/// makes a queue of this name again.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  workfleet queue retire thumbnail")]
struct Retire {
    /// The queue
    queue: QueueName,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, Args)]
struct How {
    /// Say what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Why, for the operators' log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
    /// Remove it though it is in use; tasks that run may record nothing any more
    #[arg(long)]
    force: bool,
    /// The broker [env: WORKFLEET_NATS_URL] [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Print what goes as JSON
    #[arg(long)]
    json: bool,
}

impl Queue {
    pub(super) fn json(&self) -> bool {
        self.how().json
    }

    fn how(&self) -> &How {
        match &self.act {
            Act::Purge(purge) => &purge.how,
            Act::Retire(retire) => &retire.how,
        }
    }

    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let mut vars = Vars::from_env();
        let mut config = BrokerConfig::read(&mut vars, "workfleet-queue");
        config = vars.finish(config).map_err(|error| Fault::Usage(error.to_string()))?;
        config.url = self.how().nats.clone().unwrap_or(config.url);
        let form = if self.json() { Form::Json } else { Form::Words };
        let broker = provision::connect(&config, form).await?;
        let done = self.remove(&broker, &config.address()).await.map_err(|fault| provision::explained(&broker, fault));
        broker.close().await;
        done
    }

    /// `address` is told to whoever is asked: on a machine with two fleets, the default one is easily the wrong one.
    async fn remove(&self, broker: &Broker, address: &str) -> Result<(), Fault> {
        let how = self.how();
        // What would go can be looked at while it is in use.
        let in_use = if how.force || how.dry_run { InUse::Forced } else { InUse::Refused };
        let (removal, question) = match &self.act {
            Act::Purge(purge) => {
                let removal = streams::purge(broker, &purge.queue, &purge.parts(), in_use).await?;
                (
                    removal,
                    Question {
                        ask: format!("Remove this from {} at {address}? Type yes", purge.queue),
                        answer: "yes".into(),
                    },
                )
            }
            Act::Retire(retire) => {
                let removal = streams::retire(broker, &retire.queue, in_use).await?;
                let ask = format!("Remove the queue and all of this at {address}? Type the queue's name");
                (removal, Question { ask, answer: retire.queue.to_string() })
            }
        };
        if how.dry_run {
            return how.show(&removal, "would go");
        }
        if !how.yes {
            how.show_before(&removal)?;
            question.ask()?;
        }
        removal.carry_out(broker, in_use).await?;
        how.show(&removal, "removed")?;
        self.note(broker, &removal).await
    }

    /// Writes it into the operators' log. What is done is done, so that a failure is told and the rest stays true.
    async fn note(&self, broker: &Broker, removal: &Removal) -> Result<(), Fault> {
        let (action, queue) = match &self.act {
            Act::Purge(purge) => (Action::Purge, &purge.queue),
            Act::Retire(retire) => (Action::Retire, &retire.queue),
        };
        let filter = match &self.act {
            Act::Purge(purge) => purge.parts().into_iter().map(word).collect::<Vec<_>>().join(" "),
            Act::Retire(_) => String::new(),
        };
        let operation = Operation {
            action,
            queue: queue.clone(),
            task: None,
            filter,
            ids: Vec::new(),
            count: removal.messages,
            caller: Caller::new(&who(), "cli"),
            reason: self.how().reason.clone(),
        };
        operations::record(broker, operation).await.map_err(|error| {
            let word = action.word();
            Fault::Unreachable(format!("the {word} of {queue} is done, and not in the operators' log: {error}"))
        })
    }
}

/// As the options that ask for it are named.
fn word(part: Part) -> &'static str {
    match part {
        Part::Waiting => "waiting",
        Part::Dead => "dead",
        Part::Results => "results",
    }
}

impl Purge {
    fn parts(&self) -> Vec<Part> {
        let asked = [(self.waiting, Part::Waiting), (self.dead, Part::Dead), (self.results, Part::Results)];
        let parts: Vec<Part> = asked.iter().filter(|(asked, _)| *asked).map(|(_, part)| *part).collect();
        if parts.is_empty() { vec![Part::Waiting] } else { parts }
    }
}

impl How {
    fn show(&self, removal: &Removal, what: &str) -> Result<(), Fault> {
        if self.json {
            return print::json(&json!({ "queue": removal.queue, "removed": !self.dry_run, "items": removal.items }));
        }
        print::table([&what.to_uppercase(), "HOLDS"], rows(removal))
    }

    /// Whoever is asked has to see what goes. On the standard error, since the standard output may go elsewhere.
    fn show_before(&self, removal: &Removal) -> Result<(), Fault> {
        if !io::stdin().is_terminal() {
            return Err(Fault::Usage("there is no terminal to ask at; --yes does it without asking".to_owned()));
        }
        rows(removal).try_for_each(|[name, holds]| Ok(writeln!(io::stderr(), "  {name}: {holds}")?))
    }
}

/// `user@host`, as the system has them; the broker may know this process by a key that many share.
fn who() -> String {
    let name =
        |variables: &[&str]| variables.iter().find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|host| host.trim().to_owned());
    let host = host.filter(|host| !host.is_empty()).or_else(|| name(&["HOSTNAME"]));
    let unknown = || "unknown".to_owned();
    format!("{}@{}", name(&["SUDO_USER", "USER", "LOGNAME"]).unwrap_or_else(unknown), host.unwrap_or_else(unknown))
}

fn rows(removal: &Removal) -> impl Iterator<Item = [String; 2]> {
    removal.items.iter().map(|item| [item.name.clone(), item.holds.clone()])
}

/// What must be typed before anything goes.
struct Question {
    ask: String,
    answer: String,
}

impl Question {
    fn ask(&self) -> Result<(), Fault> {
        write!(io::stderr(), "{}: ", self.ask)?;
        let mut typed = String::new();
        io::stdin().lock().read_line(&mut typed)?;
        self.check(&typed)
    }

    fn check(&self, typed: &str) -> Result<(), Fault> {
        if typed.trim() == self.answer { Ok(()) } else { Err(Fault::Usage("nothing was removed".to_owned())) }
    }
}

#[cfg(test)]
mod tests {
    use super::Question;

    #[test]
    fn nothing_goes_before_the_right_word_was_typed() {
        let question = Question { ask: String::new(), answer: "mail".to_owned() };
        assert!(question.check("mail\n").is_ok());
        for wrong in ["", "\n", "yes\n", "y\n", "mail-x\n", "Mail\n", "mail mail\n"] {
            assert!(question.check(wrong).is_err(), "{wrong:?}");
        }
    }
}
