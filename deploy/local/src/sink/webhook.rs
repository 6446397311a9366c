//! The webhook receiver: checks what a receiver of [Standard Webhooks](https://www.standardwebhooks.com) has to check,
//! and writes one line of JSON about each delivery.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::cli::WebhookReceiverArgs;
use crate::error::LocalError;
use crate::signals::Signals;
use crate::terminal::Terminal;

/// Largest body; that of the largest payload in a message, and some.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How far a delivery's time may be from now; an older one may be somebody's copy.
const AGE_SECONDS_MAX: u64 = 300;
/// How a secret begins when it is written down.
const SECRET_PREFIX: &str = "whsec_";

/// Takes webhooks until it is told to stop.
pub(crate) async fn serve(args: WebhookReceiverArgs, terminal: Terminal) -> Result<(), LocalError> {
    let text = std::fs::read_to_string(&args.secret_file).map_err(LocalError::file(&args.secret_file))?;
    let secret = secret(&text).ok_or_else(|| LocalError::Secret(args.secret_file.clone()))?;
    let out = match args.file {
        Some(path) => Out::File(Mutex::new(open(&path)?)),
        None => Out::Terminal(terminal),
    };
    let mut signals = Signals::listen()?;
    let listener = super::listen(args.addr, "http").await?;
    let router = Router::new()
        .fallback(receive)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(Arc::new(Receiver { secret, out }));
    let served = axum::serve(listener, router).with_graceful_shutdown(async move { signals.next().await });
    served.await.map_err(LocalError::Runtime)
}

fn open(path: &PathBuf) -> Result<std::fs::File, LocalError> {
    std::fs::File::options().create(true).append(true).open(path).map_err(LocalError::file(path))
}

struct Receiver {
    secret: Vec<u8>,
    out: Out,
}

/// Where the lines go.
enum Out {
    File(Mutex<std::fs::File>),
    Terminal(Terminal),
}

impl Out {
    fn line(&self, line: &Value) {
        match self {
            Self::Terminal(terminal) => terminal.print(&line.to_string()),
            // In one write, so that nobody reads half a line; where the disk is full, the answer still goes out.
            Self::File(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                drop(file.write_all(format!("{line}\n").as_bytes()));
            }
        }
    }
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let delivery = Delivery {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp"),
        signatures: header("webhook-signature"),
        body: &body,
    };
    let verdict = delivery.verdict(&receiver.secret, now);
    receiver.out.line(&json!({
        "id": delivery.id,
        "timestamp": delivery.timestamp,
        "traceparent": header("traceparent"),
        "signature": verdict.word(),
        "bytes": body.len(),
        "body": serde_json::from_slice::<Value>(&body).unwrap_or_default(),
    }));
    if verdict == Verdict::Good { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED }
}

/// What is signed, and with what.
struct Delivery<'a> {
    id: &'a str,
    timestamp: &'a str,
    signatures: &'a str,
    body: &'a [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// There is no signature, or none with this secret.
    Wrong,
    /// It was right once, or will be.
    Old,
}

impl Verdict {
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Wrong => "wrong",
            Self::Old => "old",
        }
    }
}

impl Delivery<'_> {
    fn verdict(&self, secret: &[u8], now_seconds: u64) -> Verdict {
        // A secret of any length makes a key.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return Verdict::Wrong };
        mac.update(format!("{}.{}.", self.id, self.timestamp).as_bytes());
        mac.update(self.body);
        // Several, with spaces between them, while a secret is being changed.
        let good = |signature: &str| {
            let bytes = signature.strip_prefix("v1,").and_then(|base64| STANDARD.decode(base64).ok());
            // Compared in constant time.
            bytes.is_some_and(|bytes| mac.clone().verify_slice(&bytes).is_ok())
        };
        if self.id.is_empty() || !self.signatures.split(' ').any(good) {
            return Verdict::Wrong;
        }
        let young = |time: u64| time.abs_diff(now_seconds) <= AGE_SECONDS_MAX;
        if self.timestamp.parse().is_ok_and(young) { Verdict::Good } else { Verdict::Old }
    }
}

/// `whsec_` and base64.
fn secret(text: &str) -> Option<Vec<u8>> {
    let secret = STANDARD.decode(text.trim().strip_prefix(SECRET_PREFIX)?).ok()?;
    (!secret.is_empty()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::{Delivery, Verdict, secret};

    /// The example that the specification's own libraries are tested with.
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn verdict(signatures: &str, body: &str, now: u64) -> Verdict {
        let delivery =
            Delivery { id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: "1614265330", signatures, body: body.as_bytes() };
        delivery.verdict(&secret(SECRET).unwrap(), now)
    }

    #[test]
    fn a_signature_holds_for_its_body_and_its_time() {
        let body = r#"{"test": 2432232314}"#;
        assert_eq!(verdict(SIGNATURE, body, 1_614_265_330), Verdict::Good);
        assert_eq!(verdict(&format!("v1,AAAA v2,x {SIGNATURE}"), body, 1_614_265_630), Verdict::Good);
        assert_eq!(verdict(SIGNATURE, body, 1_614_265_631), Verdict::Old);
        assert_eq!(verdict(SIGNATURE, "{}", 1_614_265_330), Verdict::Wrong);
        for wrong in ["", "v1,", &SIGNATURE[3..], "v1,not base64"] {
            assert_eq!(verdict(wrong, body, 1_614_265_330), Verdict::Wrong, "{wrong}");
        }
    }

    #[test]
    fn a_secret_has_its_prefix() {
        for wrong in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?"] {
            assert_eq!(secret(wrong), None, "{wrong}");
        }
    }
}
