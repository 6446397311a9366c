//! `workfleet get`: where a task is, and what came of it.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use reqwest::Method;
use serde_json::Value;

use super::fault::Fault;
use super::print;
use super::remote::Remote;
use super::task::Task;

/// Show where a task is and what came of it
#[derive(Debug, Args)]
#[command(after_help = "\
The exit code is 0 unless the task has failed, was cancelled or has expired: 1 then; 4 if its output is asked for before it has ended.

Examples:
  workfleet get thumbnail_01jd7zk2v0e6tr4y8m3q5x9abc
  workfleet get thumbnail_01jd7zk2v0e6tr4y8m3q5x9abc --result | jq .width_px
  workfleet get thumbnail_01jd7zk2v0e6tr4y8m3q5x9abc --bytes image --output small.jpg")]
pub(crate) struct Get {
    /// The task's id
    id: String,
    /// Print the output alone, as JSON and unshortened
    #[arg(long)]
    result: bool,
    /// Take one field of the output, of type bytes, and write the bytes themselves
    #[arg(long, value_name = "FIELD")]
    bytes: Option<String>,
    /// Write the output to a file rather than to the standard output
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) remote: Remote,
}

impl Get {
    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        let mut task = Task::read(client.get(&["v1", "tasks", &self.id]).await?)?;
        if self.result || self.bytes.is_some() || self.output.is_some() {
            if task.fields.output_blob.is_some() {
                let result = client.endless(Method::GET, &["v1", "tasks", &self.id, "result"]);
                task.fields.output = Some(client.json(result).await?);
            }
            return self.write(&self.output_of(&task)?);
        }
        task.print(&self.remote)?;
        task.verdict()
    }

    fn output_of(&self, task: &Task) -> Result<Vec<u8>, Fault> {
        task.verdict()?;
        let Some(output) = &task.fields.output else {
            return Err(Fault::TimedOut(format!("task {} is {} and has no output yet", self.id, task.fields.state)));
        };
        match &self.bytes {
            Some(field) => field_bytes(output, field),
            None => {
                let mut text = serde_json::to_vec_pretty(output).expect("a Value always serializes");
                text.push(b'\n');
                Ok(text)
            }
        }
    }

    fn write(&self, bytes: &[u8]) -> Result<(), Fault> {
        match &self.output {
            None => print::raw(bytes),
            Some(path) => std::fs::write(path, bytes)
                .map_err(|error| Fault::Usage(format!("cannot write {}: {error}", path.display()))),
        }
    }
}

fn field_bytes(output: &Value, field: &str) -> Result<Vec<u8>, Fault> {
    let names =
        || output.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let value = output
        .get(field)
        .ok_or_else(|| Fault::Usage(format!("the output has no field {field}; it has: {}", names())))?;
    let text = value.as_str().unwrap_or_default();
    STANDARD
        .decode(text)
        .map_err(|_| Fault::Usage(format!("the field {field} of the output does not hold bytes in base64")))
}

#[cfg(test)]
mod tests {
    use super::field_bytes;
    use serde_json::json;

    #[test]
    fn the_bytes_of_a_field_are_taken_or_the_mistake_is_named() {
        let output = json!({"image": "AP8=", "note": "no base64!"});
        assert_eq!(field_bytes(&output, "image").expect("bytes"), [0, 255]);
        assert!(field_bytes(&output, "picture").expect_err("no such").to_string().contains("image, note"));
        assert!(field_bytes(&output, "note").is_err());
    }
}
