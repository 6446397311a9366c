//! `demo`: a fleet in a temporary folder, sample pictures and mails through it, and what became of them to look at.
//!
//! It uses nothing but what any client has (REST, SSE, OTLP), so that what it shows is what a user gets; and it believes
//! no worker that something was delivered before whoever it was for says so. Its exit code says whether all was well,
//! which makes it a smoke test of a fresh checkout, too.

mod mails;
mod samples;

mod client;
mod follow;

mod arrived;
mod check;
mod receiver;

mod table;
mod trace;

use std::path::{Path, PathBuf};

use futures::future::{try_join, try_join_all};
use tokio::sync::oneshot;

use crate::cli::DemoArgs;
use crate::error::LocalError;
use crate::fleet::Command;
use crate::roster::Addresses;
use crate::signals::Signals;
use crate::terminal::Terminal;
use crate::up::{Plan, prepare};
use arrived::Arrived;
use client::Client;
use follow::Shown;
use mails::{MAILS, Mail};
use receiver::Receiver;
use samples::Sample;

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
    let results = temporary("workfleet-results-")?;
    let (data, received) = (folder.path().join("fleet"), Some(results.path().to_owned()));
    let plan = Plan { data, queues: None, replicas: Vec::new(), received, telemetry: receiver.variables() };
    let (fleet, commands) = prepare(plan, &terminal)?;
    if let Some(jaeger) = fleet.addresses().jaeger {
        receiver.forward_to(jaeger.otlp);
    }
    tokio::spawn(signals.command(commands.clone(), terminal.clone()));
    let (ready, is_ready) = oneshot::channel();
    let mut running = tokio::spawn(fleet.run(ready));

    let shown = tokio::select! {
        shown = show(is_ready, &receiver, results.path(), &terminal) => shown,
        // It did not start, or somebody has seen enough before all was shown.
        ended = &mut running => return ended.map_err(LocalError::Lost)?.and(Err(LocalError::Interrupted)),
    };
    // For somebody to look at, also where not all was well.
    let _ = results.keep();
    if shown.is_err() || args.once {
        let _ = commands.send(Command::Drain).await;
    } else {
        terminal.say("The fleet stays up until Ctrl-C.");
    }
    let ended = running.await.map_err(LocalError::Lost)?;
    // Why a fleet did not start says more than that nothing could be shown.
    ended.and(shown)
}

/// Everything that was shown.
struct Whole<'a> {
    pictures: Vec<Shown<'a, Sample>>,
    mails: Vec<Shown<'a, Mail>>,
    arrived: Arrived,
}

/// Everything between ready and drained; an error names all that was not well.
async fn show(
    is_ready: oneshot::Receiver<Addresses>,
    receiver: &Receiver,
    results: &Path,
    terminal: &Terminal,
) -> Result<(), LocalError> {
    let samples = samples::samples();
    let addresses = is_ready.await.map_err(|_| LocalError::Interrupted)?;
    let whole = submit(&samples, &addresses, terminal).await?;
    let mut complaints = whole.complaints(results)?;
    terminal.print(&format!("\n{}", whole.table(terminal.columns())));
    terminal.print(&format!("Thumbnails, mails and webhooks: {}\n", results.display()));

    let traced = whole.pictures.iter().find(|shown| shown.what.is_good()).ok_or(LocalError::Interrupted)?;
    let trace_id = traced.task.trace_id.clone().unwrap_or_default();
    let spans = receiver.trace(&trace_id, trace::missing).await;
    let name = traced.what.name;
    terminal.print(&format!("Trace {trace_id} of {name}, over two queues:\n{}", trace::tree(&spans)));
    complaints.extend(trace::missing(&spans).into_iter().map(|span| format!("the trace has no span `{span}`")));

    terminal.print(&pointers(&addresses, &traced.task.id, &trace_id));
    terminal.print(&whole.tally());
    if complaints.is_empty() {
        terminal.print("All was well.\n");
        return Ok(());
    }
    Err(LocalError::NotWell(complaints.join("\n  ")))
}

/// Submits everything at once, and waits until it has ended.
async fn submit<'a>(
    samples: &'a [Sample],
    addresses: &Addresses,
    terminal: &Terminal,
) -> Result<Whole<'a>, LocalError> {
    let client = Client::new(&format!("http://{}", addresses.http));
    let hooks = addresses.webhook_receiver.as_ref().ok_or(LocalError::NoWorkerFor("webhook"))?;
    addresses.mail_sink.as_ref().ok_or(LocalError::NoWorkerFor("email"))?;
    let (pictures, mails, http) = (samples.len(), MAILS.len(), addresses.http);
    terminal.say(&format!("\nSubmitting {pictures} pictures and {mails} mails to http://{http} ..."));
    let notify = format!("http://{}/thumbnails", hooks.address);
    let pictures = try_join_all(samples.iter().map(|sample| follow::picture(&client, sample, &notify, terminal)));
    let mails = try_join_all(MAILS.iter().map(|mail| follow::mail(&client, mail, terminal)));
    let (pictures, mails) = try_join(pictures, mails).await?;
    Ok(Whole { pictures, mails, arrived: Arrived::read(addresses)? })
}

impl Whole<'_> {
    /// All that is not as it must be; writes the thumbnails to `folder`.
    fn complaints(&self, folder: &Path) -> Result<Vec<String>, LocalError> {
        let mut complaints = Vec::new();
        for shown in &self.pictures {
            complaints.extend(check::thumbnail(shown, folder)?);
            complaints.extend(check::webhook(shown, &self.arrived));
        }
        complaints.extend(self.mails.iter().filter_map(|shown| check::mail(shown, &self.arrived)));
        Ok(complaints)
    }

    fn table(&self, columns: Option<usize>) -> String {
        let mut rows: Vec<_> = self.pictures.iter().flat_map(|shown| table::picture(shown, &self.arrived)).collect();
        rows.extend(self.mails.iter().map(|shown| table::mail(shown, &self.arrived)));
        table::summary(&rows, columns)
    }

    /// What was done, in one line, counted where it arrived.
    fn tally(&self) -> String {
        let done = self.pictures.iter().filter(|shown| shown.task.state == "completed").count();
        let webhooks = self.arrived.webhooks.iter().filter(|webhook| webhook.is_verified()).count();
        let mails = self.arrived.mails.len();
        format!("{done} images done, {webhooks} webhooks delivered and verified by their receiver, {mails} mails sent.")
    }
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
         For the commands of `workfleet`:\n  {}\n",
        addresses.exports()
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
