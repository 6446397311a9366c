//! The next version of the probe worker, for rolling deploys: it knows a field that the other one does not, and has
//! forgotten many that it knows.

use std::io::Write as _;
use std::time::Duration;

use workfleet_link::time::now_ms;
use workfleet_sdk::{Context, RunError, TaskError, Worker};

use messages::probe::{ProbeReply, ProbeRequest};

/// Generated from `proto/next/probe.proto`.
mod messages {
    include!(concat!(env!("OUT_DIR"), "/next/kinds.rs"));
}

#[tokio::main]
async fn main() -> Result<(), RunError> {
    Worker::from_env()?.handle(probe).run().await
}

async fn probe(ctx: Context, task: ProbeRequest) -> Result<ProbeReply, TaskError> {
    log(&ctx, &task, "start")?;
    tokio::time::sleep(Duration::from_millis(task.sleep_ms.into())).await;
    log(&ctx, &task, "end")?;
    let echo = if task.loud { task.echo.to_uppercase() } else { task.echo };
    Ok(ProbeReply { echo, attempt: ctx.attempt(), worker: std::process::id().to_string() })
}

/// One line per start and end, as the other version writes it.
fn log(ctx: &Context, task: &ProbeRequest, what: &str) -> Result<(), TaskError> {
    if task.log_file.is_empty() {
        return Ok(());
    }
    let line = format!("{} {} {} {what} {}\n", ctx.task_id(), ctx.attempt(), std::process::id(), now_ms());
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&task.log_file)?;
    file.write_all(line.as_bytes())?;
    Ok(())
}
