//! Jaeger and the collector before it, with the files that the manifests mount.

use std::path::{Path, PathBuf};

use crate::http;
use crate::place::{free_port, tool, workspace};
use crate::process::{Process, Spec};
use crate::wait::eventually;

/// One of the two, on ports of its own.
#[derive(Debug)]
pub struct Shipped {
    process: Process,
    spec: Spec,
    folder: PathBuf,
    otlp_port: u16,
    query_port: u16,
    health_port: u16,
    metrics_port: u16,
}

/// Which of the two a [`Shipped`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Takes traces and answers queries.
    Jaeger,
    /// Takes traces and sends them on.
    Collector,
}

impl Role {
    fn variable(self, end: &str) -> String {
        match self {
            Self::Jaeger => format!("JAEGER_{end}"),
            Self::Collector => format!("COLLECTOR_{end}"),
        }
    }
}

impl Shipped {
    /// Starts one with these files of `deploy/kubernetes/components`, and further variables; `None` where no Jaeger was
    /// built.
    pub async fn start(role: Role, files: &[&str], variables: &[(&str, &str)], folder: &Path) -> Option<Self> {
        let program = tool("jaeger")?;
        let [otlp_port, query_port, query_grpc_port, health_port, metrics_port] = std::array::from_fn(|_| free_port());
        let name = role.variable("SHIPPED").to_lowercase();
        let mut spec = Spec::new(name, program).variable(&role.variable("LISTEN_HOST"), "127.0.0.1");
        let components = workspace().join("deploy/kubernetes/components");
        for file in files {
            spec = spec.argument("--config").argument(components.join(file).display().to_string());
        }
        let ports = [
            ("OTLP_GRPC_PORT", otlp_port),
            ("QUERY_HTTP_PORT", query_port),
            ("QUERY_GRPC_PORT", query_grpc_port),
            ("HEALTH_PORT", health_port),
            ("METRICS_PORT", metrics_port),
        ];
        for (end, port) in ports {
            spec = spec.variable(&role.variable(end), port.to_string());
        }
        for (name, value) in variables {
            spec = spec.variable(name, *value);
        }
        let process = Process::start(&spec, folder);
        let folder = folder.to_owned();
        let mut shipped = Self { process, spec, folder, otlp_port, query_port, health_port, metrics_port };
        shipped.healthy().await;
        Some(shipped)
    }

    async fn healthy(&mut self) {
        let url = format!("http://127.0.0.1:{}/status", self.health_port);
        eventually("it says that it is well", async || {
            self.process.must_run();
            http::get(&url).await.ok()?.status().is_success().then_some(())
        })
        .await;
    }

    /// The process, for signals.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Starts it again on the same ports, once it has left.
    pub async fn start_again(&mut self) {
        self.process.kill();
        self.process = Process::start(&self.spec, &self.folder);
        self.healthy().await;
    }

    /// Where it takes traces, as `host:port`.
    #[must_use]
    pub fn otlp(&self) -> String {
        format!("localhost:{}", self.otlp_port)
    }

    /// Jaeger's query API.
    #[must_use]
    pub fn query_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.query_port)
    }

    /// What it tells Prometheus.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn metrics(&self) -> String {
        let answer = http::get(format!("http://127.0.0.1:{}/metrics", self.metrics_port)).await;
        answer.expect("an answer").text().await.expect("text")
    }
}
