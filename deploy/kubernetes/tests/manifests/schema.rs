//! Kubernetes' own schemas, by `kubernetes-validate`: strict, so that a misspelt field is a mistake and not ignored.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// The oldest version that knows all that is used (the sleep before a stop), and one of today's.
const VERSIONS: [&str; 2] = ["1.30", "1.36"];

/// What a cluster would not understand of these manifests. Objects of custom kinds are not looked at, and what several
/// manifests have in common is looked at once: the validator is not fast.
pub(crate) fn mistakes<'a>(manifests: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let objects: BTreeSet<&str> = manifests.into_iter().flat_map(|manifest| manifest.split("\n---\n")).collect();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("all.yaml");
    std::fs::write(&path, objects.into_iter().collect::<Vec<_>>().join("\n---\n")).expect("it can be written");
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools/kubernetes-validate");
    let mut command = Command::new("python3");
    command.args(["-m", "kubernetes_validate", "--strict", "--quiet", "--no-warn"]);
    command.args(VERSIONS.iter().flat_map(|version| ["-k", version])).arg(path);
    command.env("PYTHONPATH", &site).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().expect("python3 starts; `make manifest-tools` says what is missing");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains("No module named"), "`make manifest-tools` gets kubernetes-validate: {said}");
    if output.status.success() { Vec::new() } else { said.lines().map(str::to_owned).collect() }
}
