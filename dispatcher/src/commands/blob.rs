//! `workfleet blob`: uploads, and the sweep.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use futures::StreamExt as _;
use reqwest::{Body, Method, Response, header};
use serde_json::{Value, json};
use tokio_util::io::ReaderStream;
use workfleet_dispatcher::{Dispatcher, Sweep, SweepAction, SweepPace, Swept};
use workfleet_link::broker::BrokerConfig;
use workfleet_link::config::Vars;

use super::fault::{Fault, Form};
use super::print;
use super::provision::connect;
use super::remote::{Client, Remote};

/// Store, read and delete blobs, and remove those that are nobody's
#[derive(Debug, Args)]
#[command(after_help = "\
Examples, in the checkout, with a fleet that `make fleet` has started:
  workfleet blob put deploy/local/samples/dunes.jpg thumbnail_dunes.jpg
  workfleet submit thumbnail --field blob=thumbnail_dunes.jpg --field width_px=64 --field height_px=64 --wait
  workfleet blob get thumbnail_dunes.jpg --output dunes.jpg
  workfleet blob sweep --dry-run")]
pub(crate) struct Blob {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Put(Put),
    Get(Get),
    Rm(Rm),
    Sweep(SweepArgs),
}

/// Upload a file, and print the blob's id
#[derive(Debug, Args)]
struct Put {
    /// The file; `-` is the standard input
    file: PathBuf,
    /// `<queue>_<name>`, with a name of your choice; or give --queue, and a name is made up
    #[arg(required_unless_present = "queue", conflicts_with = "queue")]
    id: Option<String>,
    /// The queue, where the name does not matter
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    #[command(flatten)]
    remote: Remote,
}

/// Write a blob to a file, or to the standard output
#[derive(Debug, Args)]
struct Get {
    /// The blob's id
    id: String,
    /// Where to
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    remote: Remote,
}

/// Delete an upload
#[derive(Debug, Args)]
struct Rm {
    /// The blob's id
    id: String,
    #[command(flatten)]
    remote: Remote,
}

/// Remove what is nobody's from the object stores, and say how much it was
///
/// Speaks to the broker itself. Every dispatcher does the same each hour.
#[derive(Debug, Args)]
struct SweepArgs {
    /// Look at nothing younger [default: the queue's retention, 24h at least]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
    /// One queue alone
    #[arg(long, value_name = "QUEUE")]
    queue: Option<String>,
    /// The broker [env: WORKFLEET_NATS_URL] [default: nats://127.0.0.1:4222]
    #[arg(long, value_name = "URL")]
    nats: Option<String>,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Blob {
    pub(super) fn json(&self) -> bool {
        match &self.action {
            Action::Put(put) => put.remote.json,
            Action::Get(get) => get.remote.json,
            Action::Rm(rm) => rm.remote.json,
            Action::Sweep(sweep) => sweep.json,
        }
    }

    /// Runs the command.
    pub(crate) async fn run(self) -> Result<(), Fault> {
        match self.action {
            Action::Put(put) => put.run().await,
            Action::Get(get) => get.run().await,
            Action::Rm(rm) => rm.run().await,
            Action::Sweep(sweep) => sweep.run().await,
        }
    }
}

impl Put {
    async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        let request = match (&self.id, &self.queue) {
            (Some(id), _) => client.endless(Method::PUT, &["v1", "blobs", id]),
            (None, queue) => client.endless(Method::POST, &["v1", "blobs"]).query(&[("queue", queue)]),
        };
        let request = request.header(header::CONTENT_TYPE, "application/octet-stream");
        let unreadable = |error: std::io::Error| Fault::Usage(format!("cannot read {}: {error}", self.file.display()));
        let request = if self.file.as_os_str() == "-" {
            request.body(Body::wrap_stream(ReaderStream::new(tokio::io::stdin())))
        } else {
            let file = tokio::fs::File::open(&self.file).await.map_err(unreadable)?;
            let bytes = file.metadata().await.map_err(unreadable)?.len();
            let body = Body::wrap_stream(ReaderStream::new(file));
            request.header(header::CONTENT_LENGTH, bytes).body(body)
        };
        let info = client.json(request).await?;
        if self.remote.json {
            return print::json(&info);
        }
        print::line(info["id"].as_str().unwrap_or_default())
    }
}

impl Get {
    async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        let response = client.send(client.endless(Method::GET, &["v1", "blobs", &self.id])).await?;
        match &self.output {
            None => copy(response, &client, &mut std::io::stdout().lock()).await,
            Some(path) => {
                let failed = |error| Fault::Usage(format!("cannot write {}: {error}", path.display()));
                let mut file = std::fs::File::create(path).map_err(failed)?;
                copy(response, &client, &mut file).await
            }
        }
    }
}

async fn copy(response: Response, client: &Client, to: &mut impl std::io::Write) -> Result<(), Fault> {
    let mut pieces = response.bytes_stream();
    while let Some(piece) = pieces.next().await {
        to.write_all(&piece.map_err(|error| client.unreachable(&error))?)?;
    }
    Ok(to.flush()?)
}

impl Rm {
    async fn run(self) -> Result<(), Fault> {
        let client = self.remote.client()?;
        client.send(client.request(Method::DELETE, &["v1", "blobs", &self.id])).await?;
        if self.remote.json { print::json(&json!({ "id": self.id, "deleted": true })) } else { Ok(()) }
    }
}

impl SweepArgs {
    async fn run(self) -> Result<(), Fault> {
        let mut vars = Vars::from_env();
        let config = BrokerConfig::read(&mut vars, "workfleet-sweep");
        let mut config = vars.finish(config).map_err(|error| Fault::Usage(error.to_string()))?;
        config.url = self.nats.unwrap_or(config.url);
        let form = if self.json { Form::Json } else { Form::Words };
        let broker = connect(&config, form).await?;
        let sweep = Sweep {
            queue: self.queue,
            older_than: self.older_than,
            action: if self.dry_run { SweepAction::Count } else { SweepAction::Delete },
            pace: SweepPace::Fast,
        };
        let swept = Dispatcher::new(broker.clone()).sweep(&sweep).await;
        broker.close().await;
        let swept = swept.map_err(|error| Fault::Denied(error.to_string()))?;
        if self.json { print::json(&json!({ "queues": swept, "dry_run": self.dry_run })) } else { show(&swept) }
    }
}

fn show(swept: &[Swept]) -> Result<(), Fault> {
    let rows = swept.iter().map(|swept| {
        let counts = [swept.checked, swept.inputs, swept.outputs, swept.uploads, swept.unfinished, swept.bytes];
        let mut row = [const { String::new() }; 7];
        row[0].clone_from(&swept.queue);
        row[1..].iter_mut().zip(counts).for_each(|(cell, count)| *cell = Value::from(count).to_string());
        row
    });
    print::table(["QUEUE", "CHECKED", "INPUTS", "OUTPUTS", "UPLOADS", "UNFINISHED", "BYTES"], rows)
}
