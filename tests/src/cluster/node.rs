//! One server of a cluster.

use std::path::{Path, PathBuf};

use super::{ClusterBuilder, Fsync, SERVERS, folder_of, ports};
use crate::place::tool;
use crate::process::{Process, Spec};

/// User and password of the account of the system. Everybody who does not say who he is works in the other account.
pub(super) const SYSTEM: &str = "system";
const PORTS_OF_A_NODE: usize = 3;

/// A server that runs or does not.
#[derive(Debug)]
pub(super) struct Node {
    name: String,
    folder: PathBuf,
    ports: Ports,
    spec: Spec,
    process: Option<Process>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    client: u16,
    route: u16,
    monitor: u16,
}

impl Node {
    /// Three that know each other; none runs.
    pub(super) fn plan(folder: &Path, plan: &ClusterBuilder) -> Vec<Self> {
        let ports: Vec<Ports> = ports(SERVERS * PORTS_OF_A_NODE)
            .chunks_exact(PORTS_OF_A_NODE)
            .map(|ports| Ports { client: ports[0], route: ports[1], monitor: ports[2] })
            .collect();
        (0..SERVERS).map(|server| Self::planned(folder, plan, &ports, server)).collect()
    }

    fn planned(folder: &Path, plan: &ClusterBuilder, ports: &[Ports], server: usize) -> Self {
        let (name, own) = (format!("server-{server}"), folder_of(folder, server));
        std::fs::create_dir_all(&own).expect("a temporary folder takes folders");
        let configuration = own.join("nats.conf");
        std::fs::write(&configuration, text(plan, ports, server, &own)).expect("a temporary folder takes files");
        let program =
            tool("nats-server").unwrap_or_else(|| panic!("no .tools/bin/nats-server; `make tools` brings it"));
        let spec = Spec::new(&name, program).argument(format!("--config={}", configuration.display()));
        Self { name, folder: own, ports: ports[server], spec, process: None }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.ports.client)
    }

    pub(super) fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.monitor)
    }

    pub(super) fn start(&mut self) {
        self.process = Some(Process::start(&self.spec, &self.folder));
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    pub(super) fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap_or_else(|| panic!("{} does not run", self.name))
    }

    pub(super) fn is_up(&self) -> bool {
        self.process.is_some()
    }

    pub(super) fn has_left(&mut self) -> bool {
        self.process.as_mut().is_none_or(|process| process.status().is_some())
    }

    pub(super) fn delete_store(&self) {
        assert!(!self.is_up(), "{} runs", self.name);
        std::fs::remove_dir_all(self.folder.join("store")).expect("a server that ran has a store");
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join(format!("{}.log", self.name))).unwrap_or_default()
    }

    /// Whether its monitoring port answers.
    pub(super) async fn answers(&self) -> bool {
        crate::http::get(format!("{}/varz", self.monitor_url())).await.is_ok()
    }
}

fn text(plan: &ClusterBuilder, ports: &[Ports], server: usize, folder: &Path) -> String {
    let routes: Vec<String> = ports.iter().map(|ports| format!("nats://127.0.0.1:{}", ports.route)).collect();
    let own = ports[server];
    let sync = if plan.sync == Fsync::Always { "  sync_interval: always\n" } else { "" };
    let bytes = plan.file_bytes_max.map(|bytes| format!("  max_file_store: {bytes}\n")).unwrap_or_default();
    format!(
        "server_name: server-{server}\nlisten: \"127.0.0.1:{}\"\nhttp: \"127.0.0.1:{}\"\n\
         jetstream {{\n  store_dir: {:?}\n{sync}{bytes}}}\n\
         cluster {{\n  name: workfleet-test\n  listen: \"127.0.0.1:{}\"\n  routes: [{}]\n}}\n\
         accounts {{\n  SYS {{ users: [{{ user: {SYSTEM}, password: {SYSTEM} }}] }}\n  \
         FLEET {{ jetstream: enabled, users: [{{ user: fleet, password: fleet }}] }}\n}}\n\
         system_account: SYS\nno_auth_user: fleet\n",
        own.client,
        own.monitor,
        folder.join("store"),
        own.route,
        routes.join(", "),
    )
}
