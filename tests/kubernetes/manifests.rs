//! The manifests under test: a copy of `deploy/kubernetes` with one more worker, rendered, with credentials.
//!
//! The copy lets the test add a worker as a user would, one entry in the file of numbers, without a change in the
//! checkout. What else differs from what is shipped is in one kustomization on top of each overlay, written here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use workfleet_tests::{program, workspace};

/// The new worker. Its drain is shorter than its tasks, so that there is something to hand back.
const PROBE: &str = r#"
[worker.probe]
proto = "../../tests/proto/probe.proto"
children = ["probe", "thumbnail"]
replicas = { min = 1, max = 4 }
slots = 20
backlog_per_slot = 1
timeout = "1m"
drain = "5s"
scale_to_zero = true
# Streams reserve their sizes on the servers' volumes.
queue.tasks_bytes_max = 268_435_456
queue.results_bytes_max = 268_435_456
queue.blobs_bytes_max = 536_870_912
# An audit looks at every task of a run. The alerts go nowhere: what is tried is that they are submitted.
queue.ledger = true
queue.accepted_bytes_max = 67_108_864
queue.dead_alert = { queue = "webhook", url = "https://ops.example/hook", per_minute = 10 }
"#;

/// Two cores have to do: what pods ask for is for a real cluster, and so is where they have to be.
const RELAXED: &str = "
- target: { kind: Namespace }
  patch: |-
    - { op: add, path: /metadata/labels/workfleet.dev~1test, value: \"true\" }
- target: { kind: Deployment|StatefulSet|Job }
  patch: |-
    - { op: add, path: /spec/template/spec/containers/0/resources/requests/cpu, value: 10m }
    - { op: add, path: /spec/template/spec/containers/0/resources/requests/memory, value: 32Mi }
    - { op: add, path: /spec/template/spec/topologySpreadConstraints, value: [] }
    - { op: add, path: /spec/template/spec/affinity, value: {} }
- target: { kind: StatefulSet }
  patch: |-
    - { op: replace, path: /spec/volumeClaimTemplates/0/spec/resources/requests/storage, value: 1Gi }
- target: { kind: PersistentVolumeClaim }
  patch: |-
    - { op: replace, path: /spec/resources/requests/storage, value: 1Gi }
";

/// The autoscaler in a hurry; shipped are 300 s, and for a reason (see `components/keda`). There is no mail server, so
/// nobody may start a worker for mails.
const HURRIED: &str = "
- patch: |-
    apiVersion: keda.sh/v1alpha1
    kind: ScaledObject
    metadata: { name: worker-email, namespace: workfleet }
    $patch: delete
- target: { kind: Deployment, name: worker-email }
  patch: |-
    - { op: add, path: /spec/replicas, value: 0 }
- target: { kind: ScaledObject, name: worker-probe }
  patch: |-
    - { op: add, path: /spec/pollingInterval, value: 5 }
    - { op: add, path: /spec/cooldownPeriod, value: 15 }
    - { op: add, path: /spec/advanced/horizontalPodAutoscalerConfig/behavior, value: { scaleDown: { stabilizationWindowSeconds: 0 } } }
";

/// What is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overlay {
    /// `overlays/local`.
    Local,
    /// The same with `components/keda`.
    LocalWithKeda,
    /// `overlays/production`.
    Production,
}

impl Overlay {
    /// Whether its parts speak TLS.
    pub(crate) fn has_tls(self) -> bool {
        self == Self::Production
    }

    fn base(self) -> &'static str {
        match self {
            Self::Local | Self::LocalWithKeda => "local",
            Self::Production => "production",
        }
    }

    fn kustomization(self) -> String {
        let (components, more) = match self {
            Self::LocalWithKeda => ("components: [../../components/keda]\n", HURRIED),
            Self::Local | Self::Production => ("", ""),
        };
        format!("resources: [../{}]\n{components}patches:{RELAXED}{}", self.base(), more.trim_start_matches('\n'))
    }
}

/// The copy.
pub(crate) struct Manifests {
    folder: TempDir,
}

impl Manifests {
    /// Copies, adds the worker, renders.
    pub(crate) fn prepare() -> Result<Self> {
        let manifests = Self { folder: TempDir::with_prefix("workfleet-kubernetes-")? };
        for folder in ["deploy/kubernetes", "proto/kinds", "tests/proto"] {
            copy(&workspace().join(folder), &manifests.folder.path().join(folder))?;
        }
        let fleet = manifests.root().join("fleet.toml");
        fs::write(&fleet, fs::read_to_string(&fleet)? + PROBE)?;
        manifests.kubernetes(&["render"])?;
        Ok(manifests)
    }

    /// Makes the credentials of an overlay and the kustomization on top of it, and gives the latter's folder.
    pub(crate) fn overlay(&self, overlay: Overlay) -> Result<PathBuf> {
        self.kubernetes(&["credentials", "--overlay", overlay.base()])?;
        let folder = self.root().join("overlays").join(format!("test-{overlay:?}").to_lowercase());
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("kustomization.yaml"), overlay.kustomization())?;
        Ok(folder)
    }

    /// A file of an overlay's credentials, such as `tokens/app.token`, `nats/<role>.nk` or `tls/ca.crt`.
    pub(crate) fn credential(&self, overlay: Overlay, file: &str) -> Result<String> {
        let path = self.credential_file(overlay, file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text.trim().to_owned())
    }

    /// Where that file is.
    pub(crate) fn credential_file(&self, overlay: Overlay, file: &str) -> PathBuf {
        self.root().join("overlays").join(overlay.base()).join("credentials").join(file)
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("deploy/kubernetes")
    }

    fn kubernetes(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new(program("workfleet-kubernetes"));
        let output = command.args(arguments).arg("--dir").arg(self.root()).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "workfleet-kubernetes {}: {said}", arguments.join(" "));
        Ok(())
    }
}

/// Copies a folder without what the checkout's own use has left in it: no credential leaves its place.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let list = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(from)
        .output()?;
    ensure!(list.status.success(), "git cannot list {}", from.display());
    for path in String::from_utf8(list.stdout)?.lines().filter(|path| from.join(path).is_file()) {
        let target = to.join(path);
        fs::create_dir_all(target.parent().context("a file lies in a folder")?)?;
        fs::copy(from.join(path), &target).with_context(|| format!("{path} -> {}", target.display()))?;
    }
    Ok(())
}
