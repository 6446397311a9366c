//! Every overlay and combination, built once for all tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;
use workfleet_kubernetes::{credentials, fleet::Fleet};

use crate::objects::Objects;

/// Something that a user may apply: an overlay, and components on top of it.
pub(crate) struct Combination {
    pub(crate) name: &'static str,
    pub(crate) overlay: &'static str,
    pub(crate) components: &'static [&'static str],
    /// More of its kustomization.
    pub(crate) more: &'static str,
}

pub(crate) const COMBINATIONS: [Combination; 8] = [
    Combination { name: "local", overlay: "local", components: &[], more: "" },
    Combination { name: "production", overlay: "production", components: &[], more: "" },
    Combination { name: "local-hpa", overlay: "local", components: &["hpa"], more: "" },
    Combination { name: "local-keda", overlay: "local", components: &["keda"], more: "" },
    Combination { name: "local-keda-nats", overlay: "local", components: &["keda-nats"], more: "" },
    Combination { name: "local-policies", overlay: "local", components: &["network-policy", "ha"], more: "" },
    Combination {
        name: "production-monitoring",
        overlay: "production",
        components: &["monitoring", "tail-sampling"],
        more: "",
    },
    // As its own words say: with it, certificates are not among the credentials.
    Combination {
        name: "production-cert-manager",
        overlay: "production",
        components: &["cert-manager"],
        more: "patches:
  - target: { kind: Secret, name: tls-.* }
    patch: '{ $patch: delete, apiVersion: v1, kind: Secret, metadata: { name: any } }'
  - target: { kind: ConfigMap, name: workfleet-ca }
    patch: '{ $patch: delete, apiVersion: v1, kind: ConfigMap, metadata: { name: any } }'
",
    },
];

/// What kustomize made of a combination.
pub(crate) struct Build {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) objects: Objects,
}

/// `deploy/kubernetes`.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn fleet() -> Fleet {
    Fleet::read(&root()).unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) fn builds() -> &'static [Build] {
    // A failure is kept too: it would be the same for every test.
    static BUILDS: OnceLock<Result<Vec<Build>, String>> = OnceLock::new();
    let made = BUILDS.get_or_init(|| {
        let folder = prepare();
        COMBINATIONS.iter().map(|combination| build(&folder.path().join("deploy/kubernetes"), combination)).collect()
    });
    made.as_ref().unwrap_or_else(|error| panic!("{error}"))
}

/// What kustomize says of an overlay as it is in a fresh clone.
pub(crate) fn without_credentials(overlay: &str) -> String {
    let folder = copied();
    kustomize(&folder.path().join("deploy/kubernetes/overlays").join(overlay)).expect_err("there are no credentials")
}

/// A copy with credentials, so that none are made in the checkout, and none that lie there are read.
fn prepare() -> TempDir {
    let folder = copied();
    for overlay in ["local", "production"] {
        let root = folder.path().join("deploy/kubernetes");
        credentials::make(&root, overlay, None).unwrap_or_else(|error| panic!("{overlay}: {error}"));
    }
    folder
}

/// A copy of what is committed.
fn copied() -> TempDir {
    let folder = TempDir::with_prefix("workfleet-manifests-").expect("a temporary folder");
    let copied = folder.path().join("deploy/kubernetes");
    for part in ["base", "components", "overlays"] {
        copy(&root().join(part), &copied.join(part));
    }
    fs::copy(root().join("fleet.toml"), copied.join("fleet.toml")).expect("it can be copied");
    for beside in ["proto/kinds", "deploy/grafana"] {
        copy(&root().join("../..").join(beside), &folder.path().join(beside));
    }
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).unwrap_or_else(|error| panic!("{}: {error}", from.display())) {
        let entry = entry.expect("it can be listed");
        let (name, path) = (entry.file_name(), entry.path());
        // Of the credentials only what is committed.
        let secret = from.ends_with("credentials") && name != "kustomization.yaml";
        if path.is_dir() && !secret {
            copy(&path, &to.join(name));
        } else if path.is_file() && !secret {
            fs::copy(&path, to.join(name)).expect("it can be copied");
        }
    }
}

fn build(root: &Path, combination: &Combination) -> Result<Build, String> {
    let folder = root.join("overlays").join(format!("test-{}", combination.name));
    fs::create_dir_all(&folder).expect("a folder can be made");
    let components = combination.components.iter().map(|name| format!("  - ../../components/{name}\n"));
    let components = components.reduce(|all, one| all + &one).map(|list| format!("components:\n{list}"));
    let text =
        format!("resources: [../{}]\n{}{}", combination.overlay, components.unwrap_or_default(), combination.more);
    fs::write(folder.join("kustomization.yaml"), text).expect("it can be written");
    let text = kustomize(&folder).map_err(|error| format!("{}: {error}", combination.name))?;
    Ok(Build { name: combination.name.to_owned(), objects: Objects::parse(&text), text })
}

/// kubectl's own kustomize, or kustomize; `make manifest-tools` has seen to it that there is one.
fn kustomize(folder: &Path) -> Result<String, String> {
    let built = root().join("../../.tools/bin/kustomize");
    let commands = [(PathBuf::from("kubectl"), "kustomize"), (PathBuf::from("kustomize"), "build"), (built, "build")];
    let mut missing = Vec::new();
    for (program, word) in commands {
        match Command::new(&program).arg(word).arg(folder).output() {
            Ok(output) if output.status.success() => {
                return String::from_utf8(output.stdout).map_err(|error| error.to_string());
            }
            Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => missing.push(format!("{}: {error}", program.display())),
        }
    }
    Err(format!("nothing here builds a kustomization; `make manifest-tools` gets it: {}", missing.join("; ")))
}
