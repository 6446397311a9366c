//! `demo`: a fleet in a temporary folder, sample pictures through it, and what became of them to look at.
//!
//! It uses nothing but what any client has (REST, SSE, OTLP), so that what it shows is what a user gets. Its exit code
//! says whether all was well, which makes it a smoke test of a fresh checkout, too.

mod check;
mod client;
mod follow;
mod receiver;
mod samples;
mod table;
mod trace;

use std::path::{Path, PathBuf};

use futures::future::try_join_all;
use tokio::sync::oneshot;

use crate::cli::DemoArgs;
use crate::error::LocalError;
use crate::fleet::Command;
use crate::roster::Addresses;
use crate::signals::Signals;
use crate::terminal::Terminal;
use crate::up::{Plan, prepare};
use client::Client;
use follow::{Shown, follow};
use receiver::Receiver;
use samples::SAMPLES;

/// How any client hands in a picture. The picture goes through a pipe, since an argument cannot be longer than 128 KiB;
/// `printf` may have longer ones, for it is part of the shell.
const SUBMIT: &str = r#"  printf '{"image":"%s","width_px":64,"height_px":64}' "$(base64 -w0 deploy/local/samples/julia.png)" |
    curl -H 'Content-Type: application/json' -H 'Prefer: wait=10' -d @- \
"#;

/// Runs the command.
pub(crate) async fn demo(args: DemoArgs, terminal: Terminal) -> Result<(), LocalError> {
    let signals = Signals::listen()?;
    let folder = temporary("workfleet-demo-")?;
    let receiver = Receiver::start().await?;
    let data = folder.path().join("fleet");
    let plan = Plan { data, queues: None, replicas: Vec::new(), received: None, telemetry: receiver.variables() };
    let (fleet, commands) = prepare(plan, &terminal)?;
    if let Some(jaeger) = fleet.addresses().jaeger {
        receiver.forward_to(jaeger.otlp);
    }
    tokio::spawn(signals.command(commands.clone(), terminal.clone()));
    let (ready, is_ready) = oneshot::channel();
    let mut running = tokio::spawn(fleet.run(ready));

    let shown = tokio::select! {
        shown = show(is_ready, &receiver, &terminal) => shown,
        // It did not start, or somebody has seen enough before all was shown.
        ended = &mut running => return ended.map_err(LocalError::Lost)?.and(Err(LocalError::Interrupted)),
    };
    if shown.is_err() || args.once {
        let _ = commands.send(Command::Drain).await;
    } else {
        terminal.say("The fleet stays up until Ctrl-C.");
    }
    let ended = running.await.map_err(LocalError::Lost)?;
    // Why a fleet did not start says more than that nothing could be shown.
    ended.and(shown)
}

/// Everything between ready and drained; an error names all that was not well.
async fn show(
    is_ready: oneshot::Receiver<Addresses>,
    receiver: &Receiver,
    terminal: &Terminal,
) -> Result<(), LocalError> {
    let addresses = is_ready.await.map_err(|_| LocalError::Interrupted)?;
    let client = Client::new(&format!("http://{}", addresses.http));
    terminal.say(&format!("\nSubmitting {} pictures to http://{} ...", SAMPLES.len(), addresses.http));
    let shown: Vec<Shown> = try_join_all(SAMPLES.iter().map(|sample| follow(&client, sample, terminal))).await?;

    let thumbnails = temporary("workfleet-thumbnails-")?.keep();
    let mut complaints = Vec::new();
    for shown in &shown {
        complaints.extend(check::thumbnail(shown, &thumbnails)?);
    }
    terminal.print(&format!("\n{}", table::summary(&shown, terminal.columns())));
    terminal.print(&format!("Thumbnails: {}\n", thumbnails.display()));

    let traced = shown.iter().find(|shown| shown.sample.is_good()).ok_or(LocalError::Interrupted)?;
    let trace_id = traced.task.trace_id.clone().unwrap_or_default();
    let spans = receiver.trace(&trace_id, trace::missing).await;
    terminal.print(&format!("Trace {trace_id} of {}:\n{}", traced.sample.name, trace::tree(&spans)));
    complaints.extend(trace::missing(&spans).into_iter().map(|span| format!("the trace has no span `{span}`")));

    terminal.print(&pointers(&addresses, &traced.task.id, &trace_id));
    if complaints.is_empty() {
        terminal.print("All was well.\n");
        return Ok(());
    }
    Err(LocalError::NotWell(complaints.join("\n  ")))
}

fn temporary(prefix: &str) -> Result<tempfile::TempDir, LocalError> {
    tempfile::Builder::new().prefix(prefix).tempdir().map_err(LocalError::file(std::env::temp_dir()))
}

/// Where to go from here.
fn pointers(addresses: &Addresses, id: &str, trace_id: &str) -> String {
    let Addresses { http, grpc, nats, jaeger, .. } = addresses;
    let mut text = format!(
        "REST    http://{http}\ngRPC    http://{grpc}\nNATS    nats://{nats}\n\
         \x20 curl http://{http}/v1/tasks/{id}\n  curl http://{http}/v1/queues\n\
{SUBMIT}    http://{http}/v1/queues/thumbnail/tasks\n\
         For the commands of `workfleet`:\n  export WORKFLEET_URL=http://{http}\n"
    );
    match jaeger {
        Some(jaeger) => {
            text += &format!(
                "Jaeger  http://{query} (an API and no web pages: `make jaeger` builds none. With pages:\n\
                 \x20       the image jaegertracing/jaeger:2.20.0 in a container engine, same ports)\n\
                 \x20 curl http://{query}/api/v3/traces/{trace_id}\n",
                query = jaeger.query
            );
        }
        None => {
            text += "Jaeger  is not built; `make jaeger` builds it where Go is: an API to read traces, no web pages\n";
        }
    }
    text
}

/// A file's path with the sample's name and the thumbnail's own extension.
fn thumbnail_path(folder: &Path, name: &str, extension: &str) -> PathBuf {
    folder.join(name).with_extension(extension)
}
