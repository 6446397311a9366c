//! How a running fleet is told to scale: one line of JSON there, one line back when it is done, over a socket in the
//! fleet's folder. A file that the supervisor watches could not say when it is done, and a TCP port would be open to
//! every user of the machine.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::data;
use crate::error::LocalError;
use crate::fleet::{Command, Commands};
use crate::scaling::Replicas;

/// Longest line on the socket.
const LINE_BYTES_MAX: u64 = 4096;
/// Longest wait for a request's line.
const REQUEST_MAX: Duration = Duration::from_secs(5);
/// Longest path of a socket; the kernel has 108 bytes for it.
const PATH_BYTES_MAX: usize = 100;

/// What came of a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Done(String),
    Refused(String),
}

/// A socket by a path that is short enough. The folder is kept open as long as the path is used.
struct Reachable {
    path: PathBuf,
    _folder: Option<std::fs::File>,
}

/// Takes requests for as long as the fleet lives.
pub(crate) fn serve(root: &Path, commands: Commands) -> Result<(), LocalError> {
    let path = data::socket(root);
    let reachable = reachable(root).map_err(LocalError::file(&path))?;
    let listener = UnixListener::bind(&reachable.path).map_err(LocalError::file(path))?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A caller that goes away while it waits has no claim to an answer.
            tokio::spawn(answer(stream, commands.clone()));
        }
    });
    Ok(())
}

/// Asks the fleet with the folder `root`, and waits until it is done.
pub(crate) async fn ask(root: &Path, replicas: &Replicas) -> Result<String, LocalError> {
    let no_fleet = |_| LocalError::NoFleet(root.to_owned());
    let reachable = reachable(root).map_err(no_fleet)?;
    let mut stream = UnixStream::connect(&reachable.path).await.map_err(no_fleet)?;
    let socket = data::socket(root);
    let text = serde_json::to_string(replicas).map_err(|error| LocalError::Refused(error.to_string()))?;
    stream.write_all(format!("{text}\n").as_bytes()).await.map_err(LocalError::file(&socket))?;
    let line = read_line(&mut stream).await.map_err(LocalError::file(&socket))?;
    match serde_json::from_str(&line) {
        Ok(Answer::Done(text)) => Ok(text),
        Ok(Answer::Refused(text)) => Err(LocalError::Refused(text)),
        Err(_) => Err(LocalError::Refused("the fleet went away before it answered".to_owned())),
    }
}

async fn answer(mut stream: UnixStream, commands: Commands) -> io::Result<()> {
    let answer = match timeout(REQUEST_MAX, read_line(&mut stream)).await {
        Ok(line) => done(&line?, &commands).await,
        Err(_) => return Ok(()),
    };
    let answer = match answer {
        Ok(text) => Answer::Done(text),
        Err(text) => Answer::Refused(text),
    };
    stream.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await
}

async fn done(line: &str, commands: &Commands) -> Result<String, String> {
    let asked: Replicas = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let replicas: Replicas = format!("{}={}", asked.queue, asked.count).parse()?;
    let (answer, answered) = oneshot::channel();
    let ending = || "the fleet is ending".to_owned();
    commands.send(Command::Scale { replicas, answer }).await.map_err(|_| ending())?;
    answered.await.map_err(|_| ending())?
}

async fn read_line(stream: &mut UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line).await?;
    Ok(line)
}

/// The socket's own path, or one through the open folder where that is too long.
fn reachable(root: &Path) -> io::Result<Reachable> {
    use std::os::fd::AsRawFd;
    let path = data::socket(root);
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return Ok(Reachable { path, _folder: None });
    }
    let folder = std::fs::File::open(root)?;
    let path = data::socket(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())));
    Ok(Reachable { path, _folder: Some(folder) })
}
