use super::{QueuesFile, QueuesFileError};
use std::path::Path;

fn read(text: &str) -> Result<QueuesFile, QueuesFileError> {
    let folder = tempfile::tempdir().expect("a folder");
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto/kinds/thumbnail.proto");
    std::fs::copy(proto, folder.path().join("thumbnail.proto")).expect("a copy of the kind");
    let path = folder.path().join("queues.toml");
    std::fs::write(&path, text).expect("a file");
    QueuesFile::read(&path)
}

#[test]
fn a_queue_takes_the_files_defaults_and_its_own_settings() {
    let file = read(
        "[defaults]\nlease = \"4s\"\nattempts_max = 3\n\
         [queue.thumbnail]\nproto = \"thumbnail.proto\"\nattempts_max = 7\nlanes = [\"h\", \"m\"]\n\
         [queue.mail]\n",
    )
    .expect("no mistakes");
    let [mail, thumbnail] = file.queues.as_slice() else { panic!("two queues") };
    assert_eq!((mail.settings.lease_ms, mail.settings.attempts_max, mail.kind.is_some()), (4_000, 3, false));
    assert_eq!((thumbnail.settings.lease_ms, thumbnail.settings.attempts_max), (4_000, 7));
    let kind = thumbnail.kind.as_ref().expect("a kind");
    assert_eq!(kind.service, "workfleet.kinds.thumbnail.v1.Thumbnail");
}

#[test]
fn all_mistakes_are_reported_together() {
    let error = read(
        "limit = 1\n[defaults]\nleese = \"4s\"\n\
         [queue.Bad_Name]\n[queue.mail]\nlease = 4\nproto = \"nowhere.proto\"\nreplicas = 2\n\
         [queue.resize]\nproto = \"thumbnail.proto\"\nservice = \"x\"\n[queue.small]\nproto = \"thumbnail.proto\"\n",
    )
    .expect_err("mistakes");
    let found = error.to_string();
    for part in [
        "limit: unknown",
        "defaults.leese: unknown",
        "queue.Bad_Name: a queue's name",
        "queue.mail.lease: not a duration",
        "nowhere.proto",
        "replicas is 2",
        "queue.resize: a kind is",
        "its queue is [queue.thumbnail]",
    ] {
        assert!(found.contains(part), "{part:?} is not in:\n{found}");
    }
    assert_eq!(error.mistakes.len(), 8, "{found}");
}

#[test]
fn a_file_that_is_no_toml_or_not_there_is_an_error_with_its_path() {
    assert!(read("[queue").expect_err("no TOML").to_string().contains("queues.toml"));
    assert!(read("").expect_err("no queue").to_string().contains("no [queue.<name>]"));
    let missing = QueuesFile::read(Path::new("/nowhere/queues.toml")).expect_err("no file");
    assert!(missing.to_string().contains("/nowhere/queues.toml"));
}
