//! The text of a queues file. An operator wrote it, so it is not hostile, but it may be anything.

use std::sync::LazyLock;

use tempfile::TempDir;
use workfleet_dispatcher::fuzz::queues;
use workfleet_proto::settings;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder without a file in it"));

/// Reads one file.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A path may lead to anything on this machine, also to what never ends.
    if text.contains(['/', '\\']) || text.contains("..") {
        return;
    }
    match queues(text, FOLDER.path()) {
        Err(error) => {
            assert!(!error.mistakes.is_empty(), "refused without a reason");
            assert!(error.mistakes.iter().all(|mistake| !mistake.is_empty()));
        }
        Ok(file) => {
            assert!(!file.queues.is_empty());
            assert!(file.queues.is_sorted_by(|one, next| one.name < next.name), "in the order of their names");
            for queue in &file.queues {
                assert_eq!(settings::mistakes(&queue.settings), Vec::<String>::new(), "{}", queue.name);
            }
        }
    }
}
