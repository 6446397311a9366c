//! What can be asked for.

use std::iter;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::credentials::{self, Line, MakeError, Turn, What};
use crate::fleet::Fleet;
use crate::render::{self, RenderError, Rendered};

/// The manifests of a fleet, from one file of numbers.
#[derive(Debug, Parser)]
#[command(name = "workfleet-kubernetes", version, about)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the manifests anew from fleet.toml and the templates
    Render(RenderArgs),
    /// Make the secrets of an overlay that are not there: keys, tokens, certificates
    Credentials(CredentialsArgs),
}

/// What is rendered.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// Folder with fleet.toml and templates/; the manifests are written beside them
    #[arg(long, value_name = "DIR", default_value = "deploy/kubernetes")]
    pub dir: PathBuf,
    /// Write nothing; fail if a file differs from what would be written
    #[arg(long)]
    pub check: bool,
}

/// Which credentials are made.
///
/// A key or a token is changed without a pause in two steps: --rotate makes a new one, and both are good; once everybody has
/// the new one, --finish ends the old one. Apply after each step. One that leaked: both for the same at once, which cuts off
/// whoever has the old one. Certificates have one step.
#[derive(Debug, Args)]
pub struct CredentialsArgs {
    /// Folder with fleet.toml and overlays/
    #[arg(long, value_name = "DIR", default_value = "deploy/kubernetes")]
    pub dir: PathBuf,
    /// Name of a folder below overlays/
    #[arg(long, value_name = "NAME")]
    pub overlay: String,
    /// Make a new one: a role of the broker (provision, dispatcher, backup, sys, worker-<queue>), a token (admin, app, scale), or tls
    #[arg(long, value_name = "WHAT")]
    pub rotate: Option<What>,
    /// End the old one of a role or a token; with --rotate of the same, in one go
    #[arg(long, value_name = "WHAT")]
    pub finish: Option<What>,
}

/// Does it, and says how it went.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Render(args) => render(&args).map_err(|error| error.to_string()),
        Command::Credentials(args) => make(args).map_err(|error| error.to_string()),
    };
    match done {
        Ok(said) => {
            println(&said);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln(&error);
            ExitCode::FAILURE
        }
    }
}

fn render(args: &RenderArgs) -> Result<String, RenderError> {
    let fleet = Fleet::read(&args.dir)?;
    let rendered = Rendered::of(&fleet, &args.dir)?;
    if args.check {
        rendered.check(&args.dir)?;
        return Ok(format!("{} files are as fleet.toml and the templates say", rendered.files().len()));
    }
    let written = rendered.write(&args.dir)?;
    let said = match written.as_slice() {
        [] => "nothing differs".to_owned(),
        paths => render::list("written or removed", paths),
    };
    let lines = iter::once(said).chain(credentials::for_new_workers(&args.dir, &fleet));
    Ok(lines.collect::<Vec<_>>().join("\n"))
}

fn make(args: CredentialsArgs) -> Result<String, MakeError> {
    let turn = Turn::new(args.rotate, args.finish)?;
    let lines = credentials::make(&args.dir, &args.overlay, turn.as_ref())?;
    let shown = |line: &Line| format!("{:<24} {:<9} {}", line.what, line.change, line.note).trim_end().to_owned();
    Ok(lines.iter().map(shown).collect::<Vec<_>>().join("\n"))
}

#[expect(clippy::print_stdout, reason = "a command for people")]
fn println(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "a command for people")]
fn eprintln(text: &str) {
    eprintln!("{text}");
}
