//! Lists that come in pages: `workfleet tasks` and `workfleet dead list` differ in where they ask and in what a row shows,
//! and in nothing else.
//!
//! What comes is printed as it comes, and kept only where one document is asked for.

use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};
use workfleet_dispatcher::limits::{LIST_TASKS_DEFAULT, LIST_TASKS_MAX};

use super::fault::{Fault, Form};
use super::print;
use super::remote::Client;
use super::task::Task;

/// How much of a list is wanted.
#[derive(Debug, Args)]
pub(crate) struct Pages {
    /// Most to list
    #[arg(long, default_value_t = LIST_TASKS_DEFAULT as u64, value_parser = clap::value_parser!(u64).range(1..=LIST_TASKS_MAX as u64))]
    limit: u64,
    /// List all there are; with --json one in a line
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// Begin where an earlier list ended, at its `next`
    #[arg(long)]
    cursor: Option<String>,
}

/// A list of tasks, or of what was one.
pub(crate) struct List<'a> {
    /// Where it is.
    pub(crate) path: &'a [&'a str],
    /// Which of it.
    pub(crate) query: Vec<(&'static str, String)>,
    /// Its name in the answer.
    pub(crate) name: &'static str,
    /// What each of it is called.
    pub(crate) each: &'static str,
    /// What is said where there is nothing.
    pub(crate) none: String,
    /// What stands above the rows, to the right of the id.
    pub(crate) head: String,
    /// One line, which begins with the id. Columns have their own widths, since a later page must fit under the first.
    pub(crate) row: fn(&Task) -> String,
}

impl Pages {
    /// Lists them.
    pub(crate) async fn list(&self, client: &Client, list: &List<'_>, form: Form) -> Result<(), Fault> {
        let (mut count, mut kept, mut cursor) = (0, Vec::new(), self.cursor.clone());
        // A page may be short, or empty, and have a next one.
        loop {
            let missing = if self.all { LIST_TASKS_MAX as u64 } else { self.limit - count };
            let (page, next) = list.page(client, missing, cursor.as_deref()).await?;
            let is_first = count == 0;
            count += page.len() as u64;
            match (form, self.all) {
                (Form::Json, true) => page.iter().try_for_each(print::json_line)?,
                (Form::Json, false) => kept.extend(page),
                (Form::Words, _) => list.rows(page, is_first)?,
            }
            cursor = next;
            if cursor.is_none() || (!self.all && count >= self.limit) {
                break;
            }
        }
        match (form, self.all, cursor) {
            (Form::Json, true, _) => Ok(()),
            (Form::Json, false, next) => print::json(&json!({ (list.name): kept, "next": next })),
            (Form::Words, _, _) if count == 0 => print::line(&list.none),
            (Form::Words, _, Some(next)) => print::line(&format!("\nThere may be more: --all, or --cursor {next}")),
            (Form::Words, _, None) => Ok(()),
        }
    }
}

impl List<'_> {
    async fn page(
        &self,
        client: &Client,
        limit: u64,
        cursor: Option<&str>,
    ) -> Result<(Vec<Value>, Option<String>), Fault> {
        let mut query = self.query.clone();
        query.push(("limit", limit.to_string()));
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        let mut document = client.json(client.request(Method::GET, self.path).query(&query)).await?;
        let next = document["next"].as_str().map(ToOwned::to_owned);
        match document[self.name].take() {
            Value::Array(page) => Ok((page, next)),
            _ => {
                let what = format!("the answer is not a list of {}s; is this a dispatcher?", self.each);
                Err(Fault::Unreachable(what))
            }
        }
    }

    fn rows(&self, page: Vec<Value>, with_head: bool) -> Result<(), Fault> {
        for (at, document) in page.into_iter().enumerate() {
            let task = Task::read(document)?;
            if with_head && at == 0 {
                let width = task.fields.id.len();
                print::line(format!("{:<width$}  {}", "TASK", self.head).trim_end())?;
            }
            print::line((self.row)(&task).trim_end())?;
        }
        Ok(())
    }
}

/// A text in one line, whatever a handler has said.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}
