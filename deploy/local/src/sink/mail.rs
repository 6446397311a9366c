//! The mail sink: takes every mail and writes it to a folder.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::rule::{Act, Rules, Stage};
use super::smtp::{Command, Envelope, Session, Step, unstuffed};
use super::store::Store;
use crate::cli::MailSinkArgs;
use crate::error::LocalError;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// Most connections at once.
const CONNECTIONS_MAX: usize = 64;
/// Longest line, its end included; RFC 5321 asks for 1,000.
const LINE_BYTES_MAX: u64 = 4_096;
/// Largest mail; EHLO says so too.
const MAIL_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a client may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a connection may live in all.
const CONNECTION_MAX: Duration = Duration::from_secs(600);

/// Takes mails until it is told to stop.
pub(crate) async fn serve(args: MailSinkArgs, terminal: Terminal) -> Result<(), LocalError> {
    let store = Store::open(&args.dir).map_err(LocalError::file(&args.dir))?;
    let sink = Arc::new(Sink { store, rules: Rules::new(args.rules), terminal });
    let mut signals = Signals::listen()?;
    let listener = super::listen(args.addr, "smtp").await?;
    let turns = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = signals.next() => return Ok(()),
        };
        // Out of file descriptors, for example: those who are connected go on, and leave some.
        let Ok((mut stream, _)) = accepted else {
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        match Arc::clone(&turns).try_acquire_owned() {
            Ok(turn) => {
                let sink = Arc::clone(&sink);
                tokio::spawn(async move {
                    let _ = timeout(CONNECTION_MAX, sink.converse(BufStream::new(stream))).await;
                    drop(turn);
                });
            }
            // Fits into the socket's buffer, so it waits for nobody.
            Err(_) => drop(stream.write_all(b"421 4.3.2 too many connections\r\n").await),
        }
    }
}

struct Sink {
    store: Store,
    rules: Rules,
    terminal: Terminal,
}

type Stream = BufStream<TcpStream>;

impl Sink {
    /// Errors end the connection, and concern nobody else.
    async fn converse(&self, mut stream: Stream) -> io::Result<()> {
        if self.stands_in_the_way(&mut stream, Stage::Connect, None).await? {
            return Ok(());
        }
        say(&mut stream, "220 workfleet-local").await?;
        let mut session = Session::default();
        loop {
            let line = line(&mut stream).await?;
            let command = Command::parse(String::from_utf8_lossy(&line).trim_end());
            if let Some((stage, address)) = command.stage()
                && self.stands_in_the_way(&mut stream, stage, address).await?
            {
                continue;
            }
            match session.take(command) {
                Step::Say(text) => say(&mut stream, text).await?,
                Step::Challenge => {
                    say(&mut stream, "334 ").await?;
                    self::line(&mut stream).await?;
                    say(&mut stream, "235 2.7.0 welcome").await?;
                }
                Step::Receive(envelope) => {
                    say(&mut stream, "354 go on").await?;
                    self.receive(&mut stream, &envelope).await?;
                }
                Step::Goodbye => return say(&mut stream, "221 2.0.0 bye").await,
            }
        }
    }

    /// Whether a rule says something instead of the sink.
    async fn stands_in_the_way(&self, stream: &mut Stream, stage: Stage, address: Option<&str>) -> io::Result<bool> {
        match self.rules.at(stage, address) {
            None => Ok(false),
            Some(Act::Wait(time)) => {
                sleep(time).await;
                Ok(false)
            }
            Some(Act::Refuse(code)) => {
                say(stream, &format!("{code} told to refuse")).await?;
                Ok(true)
            }
            Some(Act::Drop) => Err(io::ErrorKind::ConnectionAborted.into()),
            Some(Act::Hang) => std::future::pending().await,
        }
    }

    async fn receive(&self, stream: &mut Stream, envelope: &Envelope) -> io::Result<()> {
        let mut mail = Vec::new();
        let mut fits = true;
        while let Some(line) = unstuffed(&line(stream).await?) {
            // What does not fit is read to its end all the same, since only then can it be refused.
            fits = fits && mail.len() + line.len() <= MAIL_BYTES_MAX;
            if fits {
                mail.extend_from_slice(line);
            }
        }
        if !fits {
            return say(stream, "552 5.3.4 too large").await;
        }
        // A refused mail is not stored; one whose sender is left without an answer is.
        let act = self.rules.at(Stage::End, None);
        if let Some(Act::Refuse(code)) = act {
            return say(stream, &format!("{code} told to refuse")).await;
        }
        if let Some(Act::Wait(time)) = act {
            sleep(time).await;
        }
        let path = match self.store.write(envelope, &mail) {
            Ok(path) => path,
            Err(error) => return say(stream, &format!("452 4.3.1 {error}")).await,
        };
        let (from, to) = (&envelope.from, &envelope.to);
        self.terminal.print(&json!({ "file": path, "from": from, "to": to, "bytes": mail.len() }).to_string());
        match act {
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::Drop) => Err(io::ErrorKind::ConnectionAborted.into()),
            _ => say(stream, "250 2.0.0 taken").await,
        }
    }
}

/// The next line, with its end. A line that ends with a bare LF is no line: whoever takes it for one can be made to see
/// a second mail inside the first.
async fn line(stream: &mut Stream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    timeout(SILENCE_MAX, stream.take(LINE_BYTES_MAX).read_until(b'\n', &mut line)).await??;
    if line.ends_with(b"\r\n") {
        return Ok(line);
    }
    if !line.is_empty() {
        say(stream, "500 5.5.2 too long, or without CR and LF at its end").await?;
    }
    Err(io::ErrorKind::InvalidData.into())
}

async fn say(stream: &mut Stream, text: &str) -> io::Result<()> {
    let said = async {
        stream.write_all(text.as_bytes()).await?;
        stream.write_all(b"\r\n").await?;
        stream.flush().await
    };
    timeout(SILENCE_MAX, said).await?
}
