//! `workfleet operations`: what operators did.

use clap::Args;
use reqwest::Method;
use serde::Deserialize as _;
use serde_json::Value;
use workfleet_dispatcher::limits::{LIST_TASKS_DEFAULT, LIST_TASKS_MAX};
use workfleet_dispatcher::operations::{OperationList, OperationView};

use super::fault::Fault;
use super::print;
use super::remote::{Client, Remote};

/// List what operators did: who cancelled, redrove, dropped, purged and retired what, newest first
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  workfleet operations
  workfleet operations --queue thumbnail --action purge
  workfleet operations --json | jq -r '.operations[].who' | sort | uniq -c")]
pub(crate) struct Operations {
    /// Only in this queue
    #[arg(long)]
    queue: Option<String>,
    /// Only this: cancel, cancel_many, redrive, redrive_many, drop, drop_many, purge or retire
    #[arg(long)]
    action: Option<String>,
    /// Most to list
    #[arg(long, default_value_t = LIST_TASKS_DEFAULT as u64, value_parser = clap::value_parser!(u64).range(1..=LIST_TASKS_MAX as u64))]
    limit: u64,
    /// Begin where an earlier list ended, at its `next`
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

impl Operations {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        let mut cursor = self.cursor.clone();
        let mut listed = OperationList { operations: Vec::new(), next: None };
        // A page may be short, or empty, and have a next one.
        loop {
            let missing = self.limit - listed.operations.len() as u64;
            let page = self.page(&client, missing, cursor.as_deref()).await?;
            listed.operations.extend(page.operations);
            cursor = page.next;
            if cursor.is_none() || listed.operations.len() as u64 >= self.limit {
                break;
            }
        }
        listed.next = cursor;
        if self.remote.json { print::json(&serde_json::json!(listed)) } else { show(&listed) }
    }

    async fn page(&self, client: &Client, limit: u64, cursor: Option<&str>) -> Result<OperationList, Fault> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(self.queue.iter().map(|queue| ("queue", queue.clone())));
        query.extend(self.action.iter().map(|action| ("action", action.clone())));
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        let request = client.request(Method::GET, &["v1", "operations"]).query(&query);
        let document: Value = client.json(request).await?;
        OperationList::deserialize(&document).map_err(|error| {
            Fault::Unreachable(format!("the answer is not a list of operations ({error}); is this a dispatcher?"))
        })
    }
}

fn show(listed: &OperationList) -> Result<(), Fault> {
    if listed.operations.is_empty() {
        return print::line("There is no such operation.");
    }
    let rows = listed.operations.iter().map(|operation| {
        let (task, filter) = (tasks(operation), or_dash(&operation.filter));
        let OperationView { action, queue, who, from, reason, .. } = operation;
        // One line for each, whatever somebody wrote.
        let [action, queue, task, filter, who, from, reason] = [action, queue, &task, &filter, who, from, reason]
            .map(|cell| cell.replace(|character: char| character.is_control(), " "));
        [operation.at.to_string(), action, queue, task, filter, operation.count.to_string(), who, from, reason]
    });
    print::table(["AT", "ACTION", "QUEUE", "TASK", "FILTER", "COUNT", "WHO", "FROM", "REASON"], rows)?;
    match &listed.next {
        Some(next) => print::line(&format!("\nThere may be more: --cursor {next}")),
        None => Ok(()),
    }
}

/// Its task, or the first of many and how many more; --json names some more of them.
fn tasks(operation: &OperationView) -> String {
    match (&operation.task_id, operation.ids.first()) {
        (Some(task), _) => task.clone(),
        (None, Some(first)) if operation.count > 1 => format!("{first} and {} more", operation.count - 1),
        (None, Some(first)) => first.clone(),
        (None, None) => or_dash(""),
    }
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
