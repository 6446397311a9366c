//! Secrets of workers, as `fleet.toml` names them.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::folder::Folder;
use super::{Line, MakeError};
use crate::fleet::{Fleet, SecretKey};

/// Length of a secret that webhooks are signed with.
const WHSEC_BYTES: usize = 32;

/// Makes what can be made; also gives the files that only the user can write and has not.
pub(super) fn make(folder: &Folder, fleet: &Fleet) -> Result<(Vec<Line>, Vec<PathBuf>), MakeError> {
    let mut lines = Vec::new();
    let mut yours = Vec::new();
    let secrets = fleet.workers.iter().flat_map(|worker| &worker.secrets);
    for (secret, (key, how)) in secrets.flat_map(|secret| secret.keys.iter().map(move |key| (secret, key))) {
        let name = format!("secrets/{}/{key}", secret.name);
        let there = folder.read(&name)?.is_some();
        match how {
            SecretKey::Whsec if !there => folder.write(&name, &format!("{}\n", whsec()))?,
            SecretKey::Yours if !there => {
                yours.push(folder.path(&name));
                continue;
            }
            SecretKey::Whsec | SecretKey::Yours => {}
        }
        let change = if there { "kept" } else { "made" };
        lines.push(Line {
            what: format!("secret {}", secret.name),
            change,
            note: folder.path(&name).display().to_string(),
        });
    }
    Ok((lines, yours))
}

fn whsec() -> String {
    let random: [u8; WHSEC_BYTES] = rand::random();
    format!("whsec_{}", STANDARD.encode(random))
}
