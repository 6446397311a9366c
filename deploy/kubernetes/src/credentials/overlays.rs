//! Which overlays have credentials of their own, and which workers came after those were made.

use std::path::Path;

use crate::fleet::Fleet;

/// What asks for the credentials of an overlay, below its folder.
pub(super) const KUSTOMIZATION: &str = "credentials/kustomization.yaml";
/// Where the keys of the broker's roles are, below an overlay's folder.
const NATS: &str = "credentials/nats";

/// Names of the overlays that have a folder for them, in order.
pub(super) fn known(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("overlays")).into_iter().flatten().flatten();
    let has_them = entries.filter(|entry| entry.path().join(KUSTOMIZATION).is_file());
    let mut names: Vec<String> = has_them.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What to run, one line each, for workers that have no key yet where an overlay's credentials have been made.
#[must_use]
pub fn for_new_workers(dir: &Path, fleet: &Fleet) -> Vec<String> {
    let made = |overlay: &String| dir.join("overlays").join(overlay).join(NATS);
    let overlays: Vec<String> = known(dir).into_iter().filter(|overlay| made(overlay).is_dir()).collect();
    let mut lines = Vec::new();
    for overlay in &overlays {
        let is_new = |name: &&str| !made(overlay).join(format!("worker-{name}.nk")).is_file();
        let names = fleet.workers.iter().map(|worker| worker.name.as_str()).filter(is_new);
        lines.extend(names.map(|name| format!("new worker {name}: run make credentials OVERLAY={overlay}")));
    }
    lines
}
