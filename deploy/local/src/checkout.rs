//! Where programs and files of the project lie.
//!
//! The programs of the fleet lie beside this one, so that a debug build starts debug builds. What belongs to the
//! checkout is looked for upwards from there and from the working directory; a path fixed when compiling would break
//! with the first move of the folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::LocalError;

/// The only version that the fleet is tested with.
const NATS_VERSION: &str = "2.15.1";
/// What marks a checkout, and is the default queues file.
const QUEUES_FILE: &str = "deploy/local/queues.toml";

/// The programs that are there.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) nats: PathBuf,
    pub(crate) dispatcher: PathBuf,
    pub(crate) jaeger: Option<PathBuf>,
    /// Where the workers are.
    beside: PathBuf,
}

impl Programs {
    /// Finds them, or says how to get what is missing.
    pub(crate) fn find() -> Result<Self, LocalError> {
        let own = std::env::current_exe().map_err(LocalError::file("/proc/self/exe"))?;
        let beside = own.parent().unwrap_or(Path::new(".")).to_owned();
        let dispatcher = beside.join("workfleet");
        if !dispatcher.is_file() {
            return Err(LocalError::NoProgram(dispatcher));
        }
        let jaeger = tool("jaeger").filter(|path| path.is_file());
        Ok(Self { nats: nats_server()?, dispatcher, jaeger, beside })
    }

    /// The worker of `queue`, where there is one.
    pub(crate) fn worker(&self, queue: &str) -> Result<PathBuf, LocalError> {
        let path = self.beside.join(format!("workfleet-{queue}"));
        if path.is_file() { Ok(path) } else { Err(LocalError::NoProgram(path)) }
    }
}

/// The project's own queues file.
pub(crate) fn queues_file() -> Result<PathBuf, LocalError> {
    root().map(|root| root.join(QUEUES_FILE)).ok_or(LocalError::NoQueuesFile)
}

fn root() -> Option<PathBuf> {
    let starts = [std::env::current_exe().ok(), std::env::current_dir().ok()];
    starts
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .find(|folder| folder.join(QUEUES_FILE).is_file())
        .map(Path::to_owned)
}

fn tool(name: &str) -> Option<PathBuf> {
    root().map(|root| root.join(".tools/bin").join(name))
}

fn nats_server() -> Result<PathBuf, LocalError> {
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&in_path).map(|folder| folder.join("nats-server"));
    let mut found = Vec::new();
    for path in tool("nats-server").into_iter().chain(in_path).filter(|path| path.is_file()) {
        match version(&path) {
            Some(version) if version == format!("nats-server: v{NATS_VERSION}") => return Ok(path),
            version => found.push(format!("{} says {:?}", path.display(), version.unwrap_or_default())),
        }
    }
    let found = if found.is_empty() { "none was found".to_owned() } else { found.join(", ") };
    Err(LocalError::NoNats { wanted: NATS_VERSION, found })
}

fn version(path: &Path) -> Option<String> {
    let output = Command::new(path).arg("--version").output().ok()?;
    String::from_utf8(output.stdout).ok().map(|text| text.trim().to_owned())
}
