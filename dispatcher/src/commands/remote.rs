//! The dispatcher at the other end of a URL.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url, header};
use serde_json::{Value, json};
use workfleet_dispatcher::auth::is_loopback;
use workfleet_link::tls;

use super::fault::{Fault, Problem};

const CONNECT_TIMEOUT_MS: u64 = 5_000;
const ANSWER_TIMEOUT_MS: u64 = 30_000;
/// The dispatcher sends a comment every 15 s, so three of them in a row are missing when this has passed.
const EVENTS_SILENCE_MS_MAX: u64 = 45_000;

/// Which dispatcher, and in which form to print.
#[derive(Debug, Clone, Args)]
pub(crate) struct Remote {
    /// Where the dispatcher listens: http:// or https://
    #[arg(long, env = "WORKFLEET_URL", default_value = "http://127.0.0.1:8080", value_parser = url)]
    pub(super) url: Url,
    /// A file with the token that says who you are
    #[arg(long, value_name = "FILE", env = "WORKFLEET_TOKEN_FILE", hide_env_values = true)]
    pub(super) token_file: Option<PathBuf>,
    /// PEM file with the authorities to trust instead of the system's
    #[arg(long, value_name = "FILE", env = "WORKFLEET_CA_FILE", hide_env_values = true)]
    pub(super) ca_file: Option<PathBuf>,
    /// Print what the dispatcher answered, as JSON and unshortened
    #[arg(long)]
    pub(crate) json: bool,
}

impl Remote {
    /// A client for it; connects with the first request.
    pub(crate) fn client(&self) -> Result<Client, Fault> {
        let tls = match self.url.scheme() {
            "http" => tls::nobody(),
            "https" => tls::client(self.ca_file.as_deref())
                .map_err(|error| Fault::Usage(format!("--ca-file or WORKFLEET_CA_FILE: {error}")))?,
            other => {
                // What stands before the port is read as the scheme where there is none.
                let meant = if self.url.has_host() { String::new() } else { format!("; write http://{}", self.url) };
                return Err(Fault::Usage(format!("--url must begin with http:// or https://, not {other}:{meant}")));
            }
        };
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS));
        if let Some(path) = &self.token_file {
            if let Some(warning) = self.warning() {
                // Where it cannot be written, the command is still what was asked for.
                let _ = writeln!(std::io::stderr(), "{warning}");
            }
            builder = builder.default_headers(HeaderMap::from_iter([(header::AUTHORIZATION, bearer(path)?)]));
        }
        if is_loopback(&self.url) {
            // A proxy, set for the wide world in HTTP_PROXY, cannot reach this machine's own loopback.
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| Fault::Usage(describe(&error)))?;
        Ok(Client { http, url: self.url.clone(), token_file: self.token_file.clone() })
    }

    /// What is said of a token that others can read on its way, in the form of all that is said.
    fn warning(&self) -> Option<String> {
        if self.token_file.is_none() || self.url.scheme() != "http" || is_loopback(&self.url) {
            return None;
        }
        let host = self.url.host_str().unwrap_or_default();
        let detail = format!("the token travels to {host} in clear, and whoever is between can use it: use https://");
        Some(match self.json {
            true => json!({ "code": "token_in_clear", "detail": detail }).to_string(),
            false => format!("workfleet: {detail}"),
        })
    }
}

/// What the file holds, as a header that no log shows.
fn bearer(path: &Path) -> Result<HeaderValue, Fault> {
    let wrong = |reason: &dyn std::fmt::Display| {
        Fault::Usage(format!("--token-file or WORKFLEET_TOKEN_FILE: {}: {reason}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong(&"there is no token in it, which would be one line without blanks"));
    }
    let mut header = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| wrong(&error))?;
    header.set_sensitive(true);
    Ok(header)
}

/// Makes requests and turns everything that is not a success into a [`Fault`].
#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    url: Url,
    token_file: Option<PathBuf>,
}

impl Client {
    /// A request to the path of `segments`, which may hold any characters.
    pub(crate) fn request(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        self.endless(method, segments).timeout(Duration::from_millis(ANSWER_TIMEOUT_MS))
    }

    /// The same with no bound of time.
    pub(crate) fn endless(&self, method: Method, segments: &[&str]) -> RequestBuilder {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        self.http.request(method, url)
    }

    /// Reads a document.
    pub(crate) async fn get(&self, segments: &[&str]) -> Result<Value, Fault> {
        self.json(self.request(Method::GET, segments)).await
    }

    /// Sends a request whose answer is JSON.
    pub(crate) async fn json(&self, request: RequestBuilder) -> Result<Value, Fault> {
        self.document(self.send(request).await?).await
    }

    /// Reads an answer that is JSON.
    pub(crate) async fn document(&self, response: Response) -> Result<Value, Fault> {
        response.json().await.map_err(|error| self.unreachable(&error))
    }

    /// Opens the stream of a task's events, behind `cursor` where there is one.
    pub(crate) async fn events(&self, id: &str, cursor: Option<&str>) -> Result<Response, Fault> {
        let mut request =
            self.endless(Method::GET, &["v1", "tasks", id, "events"]).header(header::ACCEPT, "text/event-stream");
        if let Some(cursor) = cursor {
            request = request.header("Last-Event-ID", cursor);
        }
        self.send(request).await
    }

    /// Sends a request; an answer that is not a success is a fault.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Fault> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let mut problem = refusal(response).await;
        if problem.status == StatusCode::UNAUTHORIZED.as_u16() {
            problem.detail.push_str(&match &self.token_file {
                Some(path) => format!("; the token is that of {}", path.display()),
                None => "; --token-file or WORKFLEET_TOKEN_FILE names a file with a token".to_owned(),
            });
        }
        Err(Fault::Refused(problem))
    }

    /// In words that say what to do.
    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> Fault {
        let url = self.url.as_str().trim_end_matches('/');
        if let Some(reason) = tls::reason(error) {
            return Fault::Usage(format!(
                "no TLS with the dispatcher at {url}: {reason}; its certificate must be for this name, and --ca-file or \
                 WORKFLEET_CA_FILE must name whoever signed it, unless this system trusts them"
            ));
        }
        Fault::Unreachable(if error.is_connect() {
            format!(
                "no dispatcher at {url}: is it running? `make fleet` starts a whole fleet on this machine, \
                 `workfleet serve` a dispatcher alone; --url or WORKFLEET_URL names another"
            )
        } else if error.is_timeout() {
            format!("the dispatcher at {url} did not answer in time; what it was asked for may have happened")
        } else if is_parse(error) {
            format!(
                "what listens at {url} does not answer in HTTP: is this the port of gRPC? Where it speaks TLS, the URL begins with \
                 https://"
            )
        } else {
            format!("the connection to the dispatcher at {url} broke: {}", describe(error))
        })
    }
}

/// The next bytes of a stream of events, or `None` at its end.
pub(crate) async fn next_bytes(response: &mut Response, client: &Client) -> Result<Option<bytes::Bytes>, Fault> {
    let silence = Duration::from_millis(EVENTS_SILENCE_MS_MAX);
    match tokio::time::timeout(silence, response.chunk()).await {
        Ok(chunk) => chunk.map_err(|error| client.unreachable(&error)),
        Err(_) => Err(Fault::Unreachable("the dispatcher has fallen silent".to_owned())),
    }
}

async fn refusal(response: Response) -> Box<Problem> {
    let status = response.status();
    let body = response.bytes().await.unwrap_or_default();
    let mut problem: Problem = serde_json::from_slice(&body).unwrap_or_default();
    if problem.code.is_empty() {
        // Not one of ours: something between us and the dispatcher, or no dispatcher at all.
        let known = StatusCode::canonical_reason(&status).unwrap_or("unknown status");
        problem.detail = format!("{known}; is this URL a Workfleet dispatcher?");
        "http_error".clone_into(&mut problem.code);
    }
    problem.status = status.as_u16();
    Box::new(problem)
}

/// A URL, or what is missing.
///
/// # Errors
/// When it is none.
pub(super) fn url(text: &str) -> Result<Url, String> {
    text.parse().map_err(|error| match error {
        url::ParseError::RelativeUrlWithoutBase => {
            format!("it must begin with http:// or https://; write http://{text}")
        }
        error => error.to_string(),
    })
}

/// Whether what came back is no HTTP.
fn is_parse(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The innermost cause: `reqwest` names the URL three times around it.
fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::{Remote, bearer, is_loopback, url};

    #[test]
    fn a_token_is_sent_as_its_file_has_it_and_shown_to_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("token");
        std::fs::write(&path, "wf_secret\n").expect("a file");
        let header = bearer(&path).expect("a token");
        assert_eq!(header.to_str().expect("text"), "Bearer wf_secret");
        assert!(!format!("{header:?}").contains("secret"));
        for wrong in ["", " \n", "wf_secret wf_secret", "wf_secret\nwf_secret", "wf_sécret"] {
            std::fs::write(&path, wrong).expect("a file");
            let fault = bearer(&path).expect_err("no token").to_string();
            assert!(fault.contains("--token-file") && !fault.contains("cret"), "{fault}");
        }
    }

    #[test]
    fn a_token_that_travels_in_clear_is_warned_of() {
        let warning = |url: &str, token: bool, json: bool| {
            let token_file = token.then(|| "token".into());
            Remote { url: url.parse().expect("a URL"), token_file, ca_file: None, json }.warning()
        };
        let far = "http://dispatcher.test:8080";
        assert!(warning(far, true, false).is_some_and(|text| text.contains("in clear") && !text.contains('\n')));
        assert!(warning(far, true, true).is_some_and(|text| text.contains("\"code\":\"token_in_clear\"")));
        for (url, token) in [(far, false), ("https://dispatcher.test", true), ("http://127.0.0.1:8080", true)] {
            assert_eq!(warning(url, token, false), None, "{url}");
        }
    }

    #[test]
    fn a_url_that_lost_its_scheme_is_told_in_full() {
        let told = |url: &str| {
            let remote = Remote { url: url.parse().expect("a URL"), token_file: None, ca_file: None, json: false };
            remote.client().expect_err("no scheme").to_string()
        };
        assert!(told("localhost:8080").ends_with("write http://localhost:8080"));
        assert!(told("nats://localhost:4222").ends_with("not nats:"));
        assert!(url("127.0.0.1:8080").expect_err("no scheme").ends_with("write http://127.0.0.1:8080"));
    }

    #[test]
    fn only_this_machine_is_reached_without_a_proxy() {
        for near in ["http://localhost:8080", "http://127.0.0.1", "http://[::1]:9"] {
            assert!(is_loopback(&near.parse().expect("a URL")), "{near}");
        }
        assert!(!is_loopback(&"http://10.0.0.1".parse().expect("a URL")));
    }
}
