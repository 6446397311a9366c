//! The configuration as a pod has it, and as it is on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use workfleet_dispatcher::credentials;
use workfleet_dispatcher::queues_file::QueuesFile;
use workfleet_proto::names::Prefix;

use crate::authority::Authority;

/// Servers of the component `nats-cluster`.
pub(crate) const SERVERS: usize = 3;

/// The folder with the manifests.
pub(crate) fn manifests() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The files of the ConfigMap `nats-config`, as kustomize merges them: a component's file stands above the base's.
pub(crate) fn merged(components: &[&str]) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let folders = components.iter().map(|name| manifests().join("components").join(name));
    for folder in std::iter::once(manifests().join("base/nats")).chain(folders) {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a folder can be listed").path();
            if path.extension().is_some_and(|extension| extension == "conf") {
                let name = path.file_name().expect("a file has a name").to_string_lossy().into_owned();
                files.insert(name, fs::read_to_string(&path).expect("a file of the project can be read"));
            }
        }
    }
    files
}

/// Where a server of the test is, instead of in a pod.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) client: u16,
    pub(crate) route: u16,
    pub(crate) monitor: u16,
}

/// Below those that systems give to connections: one of these is not taken between the look and the server's start.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Ports that nobody uses now. A server takes no free port by itself here, since the others have to know it.
pub(crate) fn free_ports(servers: usize) -> Vec<Ports> {
    let mut held: Vec<(u16, TcpListener)> = Vec::new();
    while held.len() < 3 * servers {
        let port = rand::random_range(PORTS);
        held.extend(TcpListener::bind(("127.0.0.1", port)).ok().map(|listener| (port, listener)));
    }
    let one = |three: &[(u16, TcpListener)]| Ports { client: three[0].0, route: three[1].0, monitor: three[2].0 };
    held.chunks(3).map(one).collect()
}

/// Replaces what only a pod has. Each text has to be there, or the test would try another configuration than is shipped.
pub(crate) fn adapt(files: &mut BTreeMap<String, String>, own: Ports, all: &[Ports], folder: &Path) {
    let mut replace = |file: &str, from: &str, to: &str| {
        let text = files.get_mut(file).unwrap_or_else(|| panic!("there is no {file}"));
        assert!(text.contains(from), "{file} has no {from:?} to be replaced:\n{text}");
        *text = text.replace(from, to);
    };
    replace("nats.conf", "port: 4222", &format!("listen: \"127.0.0.1:{}\"", own.client));
    replace("nats.conf", "http_port: 8222", &format!("http: \"127.0.0.1:{}\"", own.monitor));
    replace("nats.conf", "/var/run/nats", &folder.display().to_string());
    replace("nats.conf", "\"/data\"", &format!("\"{}\"", folder.join("data").display()));
    if !all.is_empty() {
        replace("cluster.conf", "port: 6222\n", &format!("listen: \"127.0.0.1:{}\"\n", own.route));
        for (number, ports) in all.iter().enumerate() {
            replace(
                "cluster.conf",
                &format!("nats-{number}.nats-headless:6222"),
                &format!("localhost:{}", ports.route),
            );
        }
    }
    let certificates = folder.join("tls").display().to_string();
    for text in files.values_mut() {
        *text = text.replace("/etc/workfleet/tls", &certificates);
    }
}

/// Writes a folder as it is mounted at /etc/nats.
pub(crate) fn write(files: &BTreeMap<String, String>, auth_conf: &Path, folder: &Path) -> PathBuf {
    let config = folder.join("etc");
    fs::create_dir_all(&config).expect("a temporary folder takes folders");
    for (name, text) in files {
        fs::write(config.join(name), text).expect("a temporary folder takes files");
    }
    fs::copy(auth_conf, config.join("auth.conf")).expect("a temporary folder takes files");
    config.join("nats.conf")
}

/// Writes every role's key and `auth.conf`, as `workfleet-kubernetes credentials` does for production.
pub(crate) fn credentials(folder: &Path) {
    let queues = QueuesFile::read(&manifests().join("overlays/production/queues/queues.toml"));
    let queues = queues.expect("the rendered queues are good");
    credentials::write(folder, &queues, &Prefix::default(), None).expect("credentials can be written");
}

pub(crate) fn nats_server() -> PathBuf {
    let path = manifests().join("../../.tools/bin/nats-server");
    assert!(path.is_file(), "no .tools/bin/nats-server; `make tools` brings it");
    path
}

/// Lets a server read the configuration that these components give, and end.
pub(crate) fn check(components: &[&str]) -> Result<(), String> {
    let folder = TempDir::new().expect("there is room for temporary files");
    let roles = folder.path().join("roles");
    credentials(&roles);
    Authority::new().sign(&["localhost"], &folder.path().join("tls"));
    let ports = free_ports(SERVERS);
    let mut files = merged(components);
    let routes = if components.contains(&"nats-cluster") { &ports[..] } else { &[] };
    adapt(&mut files, ports[0], routes, folder.path());
    let config = write(&files, &roles.join("auth.conf"), folder.path());
    let mut command = Command::new(nats_server());
    let output = command.arg("-t").arg("--config").arg(&config).env("POD_NAME", "nats-0").output();
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
