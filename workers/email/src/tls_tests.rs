use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use crate::{MailError, Settings, Smtp, compose};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use workfleet_proto::kinds::email::EmailRequest;
use workfleet_sdk::{Vars, testing};

/// What a server does about TLS.
#[derive(Clone, Copy)]
enum Offer {
    /// From the first byte.
    Tls,
    /// When it is asked to.
    StartTls,
    /// The same, and somebody in between adds an answer in clear.
    StartTlsAndMore,
    /// It does not know it, or somebody in between has cut the offer out.
    Nothing,
}

/// A server for one connection, which writes down what it was sent, and whether that was in clear.
struct Server {
    address: SocketAddr,
    heard: Arc<Mutex<Vec<(bool, String)>>>,
    folder: TempDir,
}

impl Server {
    async fn start(offer: Offer, name: &str) -> Self {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("password"), "hunter2").unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder().with_no_client_auth();
        let acceptor = TlsAcceptor::from(Arc::new(config.with_single_cert(vec![made.cert.into()], key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let conversation = Conversation { heard: Arc::clone(&heard), acceptor, offer };
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            conversation.hold(stream).await;
        });
        Self { address, heard, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A worker's connections to it, by the variables that an operator would set.
    fn client(&self, tls: &str, changes: &[(&str, &str)]) -> (Settings, Vec<String>) {
        let mut vars = Vars::from_pairs([
            ("WORKFLEET_SMTP_HOST", "localhost".to_owned()),
            ("WORKFLEET_SMTP_PORT", self.address.port().to_string()),
            ("WORKFLEET_SMTP_TLS", tls.to_owned()),
            ("WORKFLEET_SMTP_CA_FILE", self.file("ca.pem").display().to_string()),
            ("WORKFLEET_SMTP_USER", "shop".to_owned()),
            ("WORKFLEET_SMTP_PASSWORD_FILE", self.file("password").display().to_string()),
            ("WORKFLEET_EMAIL_FROM", "shop@example.org".to_owned()),
        ]);
        for (name, value) in changes {
            vars.set(name, *value);
        }
        let settings = Settings::read(&mut vars);
        let mistakes = vars.finish(()).err().map(|error| error.mistakes).unwrap_or_default();
        (settings, mistakes)
    }

    async fn send(&self, tls: &str, changes: &[(&str, &str)]) -> Result<String, MailError> {
        let (settings, mistakes) = self.client(tls, changes);
        assert!(mistakes.is_empty(), "{mistakes:?}");
        let to = vec!["ada@example.net".to_owned()];
        let request = EmailRequest { to, text: "a secret".to_owned(), ..EmailRequest::default() };
        let ctx = testing::context();
        let mail = compose(&request, &settings.senders, &settings.headers, ctx.task_id(), SystemTime::now())?;
        Smtp::new(settings.smtp).send(&mail).await
    }

    /// The commands that came in clear.
    fn in_clear(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        heard.iter().filter(|(clear, _)| *clear).map(|(_, line)| line.clone()).collect()
    }
}

struct Conversation {
    heard: Arc<Mutex<Vec<(bool, String)>>>,
    acceptor: TlsAcceptor,
    offer: Offer,
}

impl Conversation {
    async fn hold(&self, stream: TcpStream) {
        match self.offer {
            Offer::Tls => {
                if let Ok(stream) = self.acceptor.accept(stream).await {
                    self.speak(&mut BufStream::new(stream), false, true).await;
                }
            }
            Offer::Nothing | Offer::StartTls | Offer::StartTlsAndMore => {
                let mut stream = BufStream::new(stream);
                if self.speak(&mut stream, true, true).await
                    && let Ok(stream) = self.acceptor.accept(stream.into_inner()).await
                {
                    self.speak(&mut BufStream::new(stream), false, false).await;
                }
            }
        }
    }

    /// Answers until the end, or until TLS is to begin: that is `true`.
    async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: &mut BufStream<S>,
        clear: bool,
        greets: bool,
    ) -> bool {
        let mut answer = if greets { "220 hello\r\n" } else { "" };
        let mut in_mail = false;
        loop {
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.flush().await;
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return false;
            }
            let line = line.trim_end().to_owned();
            self.heard.lock().unwrap().push((clear, line.clone()));
            answer = match line.split(' ').next().unwrap_or_default() {
                "." => "250 taken\r\n",
                _ if in_mail => "",
                "EHLO" if clear && !matches!(self.offer, Offer::Nothing) => "250-me\r\n250 STARTTLS\r\n",
                "EHLO" => "250-me\r\n250 AUTH PLAIN\r\n",
                "STARTTLS" => {
                    let more = matches!(self.offer, Offer::StartTlsAndMore);
                    let go_on: &[u8] = if more { b"220 go on\r\n250 AUTH PLAIN\r\n" } else { b"220 go on\r\n" };
                    let _ = stream.write_all(go_on).await;
                    let _ = stream.flush().await;
                    return true;
                }
                "AUTH" => "235 welcome\r\n",
                "DATA" => "354 go on\r\n",
                _ => "250 ok\r\n",
            };
            in_mail = line == "DATA" || (in_mail && line != ".");
        }
    }
}

#[tokio::test]
async fn a_mail_goes_over_tls_from_the_first_byte() {
    let server = Server::start(Offer::Tls, "localhost").await;
    assert_eq!(server.send("tls", &[]).await.as_deref(), Ok("250 taken"));
    assert!(server.in_clear().is_empty());
    assert!(server.heard.lock().unwrap().iter().any(|(_, line)| line.starts_with("AUTH PLAIN")));
}

#[tokio::test]
async fn nothing_but_a_greeting_is_in_clear_before_starttls() {
    let server = Server::start(Offer::StartTls, "localhost").await;
    assert_eq!(server.send("starttls", &[]).await.as_deref(), Ok("250 taken"));
    assert_eq!(server.in_clear(), ["EHLO example.org", "STARTTLS"]);
}

#[tokio::test]
async fn without_starttls_nothing_is_sent() {
    let server = Server::start(Offer::Nothing, "localhost").await;
    let error = server.send("starttls", &[]).await.unwrap_err();
    assert_eq!((error.code(), error.may_pass()), ("unreachable", true), "{error}");
    let in_clear = server.in_clear().join("\n");
    assert!(!["AUTH", "MAIL", "secret"].iter().any(|word| in_clear.contains(word)), "{in_clear}");
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_for_another_name_is_refused() {
    let other = Server::start(Offer::Tls, "smtp.example.org").await;
    let error = other.send("tls", &[]).await.unwrap_err();
    assert_eq!((error.code(), error.may_pass()), ("unreachable", true), "{error}");
    let unknown = Server::start(Offer::Tls, "localhost").await;
    let error = unknown.send("tls", &[("WORKFLEET_SMTP_CA_FILE", "")]).await.unwrap_err();
    assert_eq!((error.code(), error.may_pass()), ("unreachable", true), "{error}");
    for server in [other, unknown] {
        assert!(server.heard.lock().unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_answer_that_was_slipped_in_before_tls_is_noticed() {
    let server = Server::start(Offer::StartTlsAndMore, "localhost").await;
    let error = server.send("starttls", &[]).await.unwrap_err();
    assert_eq!((error.code(), error.may_pass()), ("unreachable", true), "{error}");
}
