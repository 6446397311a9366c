//! The cluster: images in, manifests applied, everything away again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use workfleet_tests::workspace;

use crate::kubectl::{NAMESPACE, apply, apply_folder, get, kubectl, kubectl_within, list};
use crate::load::{LOAD_SECRET, Load, Plan};
use crate::manifests::{Manifests, Overlay};

/// The label that a patch of the test gives the namespace: it may be deleted by it.
const OURS: &str = "workfleet.dev/test";
/// How long everything may take to be Ready.
const READY_TIME_MAX: Duration = Duration::from_secs(300);
/// How long the namespace may take to go; workers drain, NATS leaves in lame-duck mode.
const LEAVE_TIME_MAX: Duration = Duration::from_secs(240);
/// Lines of each container's log that are kept when something has failed.
const LOG_LINES_MAX: &str = "--tail=3000";

/// A fleet that is up.
pub(crate) struct Cluster {
    overlay: Overlay,
    /// What the API server has warned of, from the first object on.
    pub(crate) warnings: Vec<String>,
    /// From `apply` to everything being Ready.
    pub(crate) ready_after: Duration,
}

impl Cluster {
    /// Applies an overlay in a namespace that enforces `restricted`, and waits until everything is Ready.
    pub(crate) async fn start(manifests: &Manifests, overlay: Overlay) -> Result<Self> {
        remove_namespace().await?;
        let mut cluster = Self { overlay, warnings: Vec::new(), ready_after: Duration::ZERO };
        let begun = Instant::now();
        cluster.apply(manifests, overlay).await?;
        let mut secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": LOAD_SECRET },
            "stringData": { "token": manifests.credential(overlay, "tokens/app.token")? },
        });
        if overlay.has_tls() {
            secret["stringData"]["ca.crt"] = json!(manifests.credential(overlay, "tls/ca.crt")?);
        }
        apply(&secret).await?;
        let namespace = get(&["namespace", NAMESPACE]).await?;
        let enforced = &namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"];
        ensure!(*enforced == "restricted", "the namespace enforces {enforced}, not `restricted`");
        all_ready().await?;
        cluster.ready_after = begun.elapsed();
        Ok(cluster)
    }

    /// Applies another overlay over what is there.
    pub(crate) async fn apply(&mut self, manifests: &Manifests, overlay: Overlay) -> Result<()> {
        let folder = manifests.overlay(overlay)?;
        self.warnings.extend(apply_folder(&folder).await?.warnings);
        Ok(())
    }

    /// Starts a load client.
    pub(crate) async fn load(&self, plan: Plan) -> Result<Load> {
        Load::start(version(), self.overlay.has_tls(), plan).await
    }
}

/// The version that images are tagged with.
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Where the images' tars are.
pub(crate) fn images() -> PathBuf {
    std::env::var_os("IMAGES").map_or_else(|| workspace().join(".images"), PathBuf::from)
}

/// Brings every image into the cluster, by the command that knows how.
pub(crate) fn load_images() -> Result<usize> {
    let Some(load) = std::env::var("IMAGE_LOAD").ok().filter(|command| !command.is_empty()) else {
        say("IMAGE_LOAD is not set: the images are taken to be in the cluster");
        return Ok(0);
    };
    let tars = tars(&images())?;
    ensure!(!tars.is_empty(), "{}: no images; `make images` makes them", images().display());
    for tar in &tars {
        let output = Command::new("sh").arg("-c").arg(format!("{load} \"$0\"")).arg(tar).output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{load} {}: {said}", tar.display());
    }
    Ok(tars.len())
}

/// Every tar in a folder and below it.
fn tars(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(tars(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "tar") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Deletes the namespace, and waits until it is gone. Somebody else's is left alone.
pub(crate) async fn remove_namespace() -> Result<()> {
    let Ok(namespace) = get(&["namespace", NAMESPACE]).await else { return Ok(()) };
    ensure!(
        namespace["metadata"]["labels"][OURS] == "true",
        "there is a namespace {NAMESPACE} that this test has not made; it is left as it is"
    );
    kubectl_within(LEAVE_TIME_MAX, &["delete", "namespace", NAMESPACE]).await?;
    Ok(())
}

/// Waits until every Deployment and StatefulSet is as described, and every Job has completed.
async fn all_ready() -> Result<()> {
    for job in names("jobs").await? {
        let what = format!("job/{job}");
        kubectl_within(READY_TIME_MAX, &["wait", "--for=condition=Complete", &what]).await?;
    }
    for kind in ["statefulset", "deployment"] {
        for name in names(kind).await? {
            let what = format!("{kind}/{name}");
            kubectl_within(READY_TIME_MAX, &["rollout", "status", &what]).await?;
        }
    }
    Ok(())
}

async fn names(kind: &str) -> Result<Vec<String>> {
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    Ok(list(&[kind]).await?.iter().map(name).collect())
}

/// Whether the cluster knows KEDA's objects.
pub(crate) async fn has_keda() -> bool {
    kubectl(&["get", "crd", "scaledobjects.keda.sh"]).await.is_ok()
}

/// Makes sure that there is a cluster, or says what to set.
pub(crate) async fn must_answer() -> Result<()> {
    if std::env::var_os("KUBECONFIG").is_none() {
        bail!(
            "this test needs a cluster: set KUBECONFIG to its file, and IMAGE_LOAD to the command that brings an image's \
             tar into it, as in\n  make k8s-test KUBECONFIG=$HOME/.kube/config IMAGE_LOAD=\"kind load image-archive\""
        );
    }
    let version = kubectl(&["version"]).await.context("the cluster of KUBECONFIG does not answer")?.out;
    say(&version.lines().filter(|line| line.starts_with("Server")).collect::<String>());
    Ok(())
}

/// Keeps what the cluster knows about a failure in a folder.
pub(crate) async fn keep_evidence(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let commands: [(&str, &[&str]); 4] = [
        ("objects.txt", &["get", "all,pvc,configmap,scaledobject", "-o", "wide", "--ignore-not-found"]),
        ("describe.txt", &["describe", "pods,deployments,statefulsets,jobs,pvc"]),
        ("events.txt", &["get", "events", "--sort-by=.lastTimestamp"]),
        ("queues.txt", &["get", "configmap", "-o", "yaml"]),
    ];
    for (file, arguments) in commands {
        let text = kubectl(arguments).await.map_or_else(|error| format!("{error:#}"), |output| output.out);
        std::fs::write(folder.join(file), text)?;
    }
    for pod in names("pods").await? {
        for (file, more) in [(format!("{pod}.log"), ""), (format!("{pod}.previous.log"), "--previous")] {
            let arguments = ["logs", &pod, "--all-containers", LOG_LINES_MAX, more];
            let arguments: Vec<&str> = arguments.into_iter().filter(|argument| !argument.is_empty()).collect();
            if let Ok(output) = kubectl(&arguments).await {
                std::fs::write(folder.join(file), output.out)?;
            }
        }
    }
    Ok(())
}

/// Tells the person who waits.
#[allow(clippy::print_stdout, reason = "a run of minutes must say where it is")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
