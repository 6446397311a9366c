//! A worker that does what the test that submits its tasks says: submits children, waits, blocks, fails, panics, dies.

use std::io::Write as _;
use std::time::{Duration, Instant};

use tracing::Instrument as _;
use workfleet_link::time::now_ms;
use workfleet_proto::id::TaskId;
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_sdk::{Context, RunError, TaskError, Worker};

use messages::probe::{ProbeReply, ProbeRequest};

/// Generated from `proto/probe.proto`.
mod messages {
    include!(concat!(env!("OUT_DIR"), "/kinds.rs"));
}

/// Exit code of a process that was told to die.
const EXIT_TOLD: i32 = 9;

#[tokio::main]
async fn main() -> Result<(), RunError> {
    Worker::from_env()?.handle(probe).run().await
}

async fn probe(ctx: Context, task: ProbeRequest) -> Result<ProbeReply, TaskError> {
    log(&ctx, &task, "start")?;
    let children = submit(&ctx, &task).await?;
    let working = work(&ctx, &task).instrument(tracing::info_span!("work", attempt = ctx.attempt()));
    tokio::select! {
        () = working => {}
        error = told(&ctx, &task) => return Err(error),
    }
    tracing::info_span!("conclude").in_scope(|| conclude(&ctx, &task))?;
    log(&ctx, &task, "end")?;
    let padding = match task.output_bytes {
        0 => task.padding,
        bytes => vec![7; bytes as usize].into(),
    };
    Ok(ProbeReply {
        echo: task.echo,
        attempt: ctx.attempt(),
        worker: std::process::id().to_string(),
        padding,
        children,
    })
}

/// Submits the task's children, and gives their ids.
async fn submit(ctx: &Context, task: &ProbeRequest) -> Result<Vec<String>, TaskError> {
    let mut submitted = Vec::new();
    for child in &task.children {
        let mut child = child.clone();
        let name = std::mem::take(&mut child.child_name);
        if child.child_differs {
            child.echo = format!("{} of attempt {}", child.echo, ctx.attempt());
        }
        let child = ctx.child(child);
        let child = if name.is_empty() { child } else { child.named(name) };
        submitted.push(child.submit().await);
    }
    for image in &task.images {
        let thumbnail = ThumbnailRequest { image: image.clone(), width_px: 8, height_px: 8, ..Default::default() };
        submitted.push(ctx.submit(thumbnail).await);
    }
    let told = |child: Result<TaskId, TaskError>| match child {
        Err(error) if task.survives_refusals => Ok(error.code().to_owned()),
        child => child.map(|id| id.to_string()),
    };
    submitted.into_iter().map(told).collect()
}

/// Waits until the handler is told to stop; comes to an end where the task says that it should.
async fn told(ctx: &Context, task: &ProbeRequest) -> TaskError {
    ctx.cancelled().await;
    if (task.notes_cancel || task.heeds_cancel)
        && let Err(error) = log(ctx, task, "told")
    {
        return error;
    }
    if !task.heeds_cancel {
        std::future::pending::<()>().await;
    }
    TaskError::retryable("stopped", "told to stop")
}

async fn work(ctx: &Context, task: &ProbeRequest) {
    if task.burn_ms > 0 {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(task.burn_ms.into()) {
            std::hint::spin_loop();
        }
    }
    if task.block_ms > 0 {
        // The very thing that a handler must not do, which is why the tests do it.
        std::thread::sleep(Duration::from_millis(task.block_ms.into()));
    }
    let steps = task.progress_steps.max(1);
    for step in 1..=steps {
        tokio::time::sleep(Duration::from_millis(task.sleep_ms.into()) / steps).await;
        if task.progress_steps > 0 {
            ctx.progress(step * 100 / steps, format!("step {step} of {steps}"));
        }
    }
}

/// Everything that goes wrong goes wrong here, after the work, so that a test has time to do harm meanwhile.
fn conclude(ctx: &Context, task: &ProbeRequest) -> Result<(), TaskError> {
    if task.exit {
        std::process::exit(EXIT_TOLD);
    }
    if task.abort {
        std::process::abort();
    }
    assert!(!task.panic, "told to panic");
    if ctx.attempt() <= task.fail_times {
        return Err(match task.fail_code.as_str() {
            "" => TaskError::retryable("told_to_fail", format!("attempt {} of {}", ctx.attempt(), task.fail_times)),
            code => TaskError::permanent(code, "told to fail for good"),
        });
    }
    Ok(())
}

/// One line per start, end, and word to stop, written at once, so that a test can count executions over all processes.
fn log(ctx: &Context, task: &ProbeRequest, what: &str) -> Result<(), TaskError> {
    if task.log_file.is_empty() {
        return Ok(());
    }
    let line = format!("{} {} {} {what} {}\n", ctx.task_id(), ctx.attempt(), std::process::id(), now_ms());
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&task.log_file)?;
    file.write_all(line.as_bytes())?;
    Ok(())
}
