//! A worker process of a fleet under test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::fleet::address;
use crate::process::{Process, Spec};
use crate::wait::eventually;

/// A worker. It can be killed, frozen, drained, and replaced by a new process.
#[derive(Debug)]
pub struct Worker {
    spec: Spec,
    folder: PathBuf,
    process: Process,
    admin: SocketAddr,
}

impl Worker {
    /// Starts the program and waits until it is ready for tasks.
    pub(crate) async fn start(spec: Spec, folder: &Path) -> Self {
        let mut worker = Self::launch(spec, folder);
        worker.ready().await;
        worker
    }

    /// Starts the program and does not wait.
    pub(crate) fn launch(spec: Spec, folder: &Path) -> Self {
        let addresses = folder.join(format!("{}.json", spec.name));
        let spec = spec.variable("WORKFLEET_ADDR_FILE", addresses.display().to_string());
        // A file of the process before would be taken for the new one's.
        let _ = std::fs::remove_file(&addresses);
        let process = Process::start(&spec, folder);
        Self { spec, folder: folder.to_owned(), process, admin: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }

    /// Waits until it says that it is consuming.
    pub async fn ready(&mut self) {
        let file = self.folder.join(format!("{}.json", self.spec.name));
        let what = format!("{} is ready", self.spec.name);
        self.admin = eventually(&what, async || {
            self.process.must_run();
            let admin = address(&file, "admin")?;
            let answer = crate::http::get(format!("http://{admin}/readyz")).await.ok()?;
            answer.status().is_success().then_some(admin)
        })
        .await;
    }

    /// Waits until it answers at all, ready or not.
    pub async fn listening(&mut self) -> SocketAddr {
        let file = self.folder.join(format!("{}.json", self.spec.name));
        let what = format!("{} listens", self.spec.name);
        eventually(&what, async || {
            self.process.must_run();
            address(&file, "admin")
        })
        .await
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where `/livez`, `/readyz` and `/metrics` are.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process itself.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGKILL, and a new process in its place at once; [`ready`](Self::ready) waits for it.
    pub fn replace(&mut self) {
        self.process.kill();
        let fresh = Self::launch(self.spec.clone(), &self.folder);
        *self = fresh;
    }

    /// SIGSTOP.
    pub fn freeze(&self) {
        self.process.freeze();
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.thaw();
    }

    /// SIGTERM, and waits until it has left in good order.
    ///
    /// # Panics
    /// When it leaves with another code than 0.
    pub async fn drain(&mut self) {
        self.process.terminate();
        let status = self.process.left().await;
        assert!(status.success(), "{}: {status}", self.spec.name);
    }
}
