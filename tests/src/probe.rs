//! What the probe worker is told to do.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

/// The input of a probe task, as JSON. Its fields are those of `tests/proto/probe.proto`.
#[derive(Debug, Clone, Default)]
pub struct Probe {
    fields: Map<String, Value>,
}

impl Probe {
    /// Answers with `text`.
    #[must_use]
    pub fn echo(text: &str) -> Self {
        Self::default().with("echo", text)
    }

    /// Waits without a thread before it answers.
    #[must_use]
    pub fn sleeps_ms(self, ms: u32) -> Self {
        self.with("sleep_ms", ms)
    }

    /// Holds its thread that long.
    #[must_use]
    pub fn blocks_ms(self, ms: u32) -> Self {
        self.with("block_ms", ms)
    }

    /// Fails in its first `times` attempts; with a code the failure is permanent.
    #[must_use]
    pub fn fails(self, times: u32) -> Self {
        self.with("fail_times", times)
    }

    /// Fails for good, with a code.
    #[must_use]
    pub fn fails_with(self, code: &str) -> Self {
        self.with("fail_times", 1_000).with("fail_code", code)
    }

    /// Panics.
    #[must_use]
    pub fn panics(self) -> Self {
        self.with("panic", true)
    }

    /// Ends the worker's process.
    #[must_use]
    pub fn exits(self) -> Self {
        self.with("exit", true)
    }

    /// Ends the worker's process as a crash does.
    #[must_use]
    pub fn aborts(self) -> Self {
        self.with("abort", true)
    }

    /// Holds a processor that long.
    #[must_use]
    pub fn burns_ms(self, ms: u32) -> Self {
        self.with("burn_ms", ms)
    }

    /// Writes down when it is told to stop, and goes on all the same.
    #[must_use]
    pub fn notes_cancel(self) -> Self {
        self.with("notes_cancel", true)
    }

    /// Stops when it is told to.
    #[must_use]
    pub fn heeds_cancel(self) -> Self {
        self.with("heeds_cancel", true)
    }

    /// Reports progress in so many steps, spread over its sleep.
    #[must_use]
    pub fn progress_steps(self, steps: u32) -> Self {
        self.with("progress_steps", steps)
    }

    /// Carries so many bytes.
    #[must_use]
    pub fn padding(self, bytes: usize) -> Self {
        self.with("padding", STANDARD.encode(vec![7; bytes]))
    }

    /// Answers with so many bytes.
    #[must_use]
    pub fn output_bytes(self, bytes: u32) -> Self {
        self.with("output_bytes", bytes)
    }

    /// Submits another probe as its child before it does anything else.
    #[must_use]
    pub fn submits(self, child: &Self) -> Self {
        self.push("children", child.json())
    }

    /// As a child: has this name among its parent's.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        self.with("child_name", name)
    }

    /// As a child: differs from one attempt of its parent to the next.
    #[must_use]
    pub fn differs(self) -> Self {
        self.with("child_differs", true)
    }

    /// Submits this image to the queue `thumbnail`.
    #[must_use]
    pub fn submits_image(self, image: &[u8]) -> Self {
        self.push("images", STANDARD.encode(image).into())
    }

    /// Answers with the code where a child is refused, instead of failing.
    #[must_use]
    pub fn survives_refusals(self) -> Self {
        self.with("survives_refusals", true)
    }

    /// Writes into `file` when it starts and ends, and its children do.
    #[must_use]
    pub fn logs_to(mut self, file: &Path) -> Self {
        if let Some(Value::Array(children)) = self.fields.get_mut("children") {
            for child in children {
                child["log_file"] = json!(file);
            }
        }
        self.with("log_file", json!(file))
    }

    /// The input as JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        Value::Object(self.fields.clone())
    }

    fn push(mut self, field: &str, value: Value) -> Self {
        let list = self.fields.entry(field).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.push(value);
        }
        self
    }

    fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(field.to_owned(), value.into());
        self
    }
}
