//! What can be asked for.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

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

/// Does it, and says how it went.
#[must_use]
pub fn main(cli: Cli) -> ExitCode {
    let Command::Render(args) = cli.command;
    match run(&args) {
        Ok(said) => {
            println(&said);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(args: &RenderArgs) -> Result<String, RenderError> {
    let rendered = Rendered::read(&args.dir)?;
    if args.check {
        rendered.check(&args.dir)?;
        return Ok(format!("{} files are as fleet.toml and the templates say", rendered.files().len()));
    }
    let written = rendered.write(&args.dir)?;
    Ok(match written.as_slice() {
        [] => "nothing differs".to_owned(),
        paths => render::list("written or removed", paths),
    })
}

#[expect(clippy::print_stdout, reason = "a command for people")]
fn println(text: &str) {
    println!("{text}");
}

#[expect(clippy::print_stderr, reason = "a command for people")]
fn eprintln(text: &str) {
    eprintln!("{text}");
}
