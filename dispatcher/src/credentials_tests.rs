use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nkeys::KeyPair;
use tempfile::TempDir;
use workfleet_proto::names::{Names, Prefix};

use super::{AUTH_CONF, Change, CredentialsError, Permissions, Report, Role, Rotate, write};
use crate::queues_file::QueuesFile;

const QUEUES: &str = "[queue.thumbnail]\nchildren = [\"webhook\"]\n[queue.webhook]\nlanes = [\"h\", \"m\"]\n";

fn queues(text: &str) -> QueuesFile {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("queues.toml");
    fs::write(&path, text).unwrap();
    QueuesFile::read(&path).unwrap()
}

pub(super) fn written(dir: &Path, rotate: Option<&Rotate>) -> Result<Report, CredentialsError> {
    write(dir, &queues(QUEUES), &Prefix::default(), rotate)
}

pub(super) fn worker(queue: &str) -> Role {
    Role::Worker(queue.parse().unwrap())
}

fn permissions(prefix: &str, role: &Role) -> Permissions {
    Permissions::of(&Names::new(prefix.parse().unwrap()), &queues(QUEUES), role).unwrap()
}

fn seed(dir: &Path, role: &str) -> String {
    fs::read_to_string(dir.join(format!("{role}.nk"))).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Everything that a folder holds.
fn contents(dir: &Path) -> BTreeSet<(String, String)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    entries.map(|e| (e.file_name().into_string().unwrap(), fs::read_to_string(e.path()).unwrap())).collect()
}

#[test]
fn a_workers_lists_are_these_and_no_others() {
    let lists = permissions("wf", &worker("thumbnail"));
    let expected = [
        "wf.result.thumbnail.*.*",
        "wf.dead.thumbnail.*",
        "wf.delay.at.thumbnail.>",
        "wf.delay.due.thumbnail.>",
        "wf.event.thumbnail.*",
        "$JS.API.CONSUMER.MSG.NEXT.TASKS_thumbnail.*",
        "$JS.ACK.TASKS_thumbnail.*.>",
        "$JS.ACK.*.*.TASKS_thumbnail.*.>",
        "$JS.API.STREAM.MSG.GET.TASKS_thumbnail",
        "$JS.API.STREAM.MSG.GET.DELAY_thumbnail",
        "$JS.API.STREAM.MSG.GET.RESULTS_thumbnail",
        "$JS.API.STREAM.MSG.GET.OBJ_IN_thumbnail",
        "$JS.API.STREAM.MSG.GET.OBJ_OUT_thumbnail",
        "$JS.API.STREAM.MSG.GET.KV_QUEUES",
        "$JS.API.STREAM.MSG.GET.KV_KINDS",
        "$JS.API.DIRECT.GET.OBJ_IN_thumbnail",
        "$JS.API.DIRECT.GET.OBJ_OUT_thumbnail",
        "$O.OUT_thumbnail.C.*",
        "$O.OUT_thumbnail.M.*",
        "$JS.API.STREAM.MSG.DELETE.OBJ_IN_thumbnail",
        "$JS.API.STREAM.PURGE.OBJ_IN_thumbnail",
        "$JS.API.STREAM.MSG.DELETE.OBJ_OUT_thumbnail",
        "$JS.API.STREAM.PURGE.OBJ_OUT_thumbnail",
        "$KV.KINDS.kind.thumbnail",
        "$KV.KINDS.schema.thumbnail.*",
        "$KV.WORKERS.thumbnail.*",
        "wf.submit.webhook",
    ];
    assert_eq!(lists.publish, expected);
    assert_eq!(lists.subscribe, ["wf.call.thumbnail thumbnail", "wf.cancel.thumbnail", "_INBOX_worker-thumbnail.>"]);
}

#[test]
fn a_worker_names_its_own_queue_in_every_line_but_two() {
    let lists = permissions("wf", &worker("webhook"));
    let foreign: Vec<&String> = lists.publish.iter().filter(|subject| !subject.contains("webhook")).collect();
    assert_eq!(foreign, ["$JS.API.STREAM.MSG.GET.KV_QUEUES", "$JS.API.STREAM.MSG.GET.KV_KINDS"]);
    assert!(lists.publish.iter().all(|subject| !subject.contains("submit")), "it has no children");
}

#[test]
fn only_provision_makes_and_removes_streams_and_the_dispatcher_those_of_events() {
    let makes = |role: &Role| -> Vec<String> {
        let acts = ["CREATE", "UPDATE", "DELETE", "PURGE"];
        let acts = |subject: &String| acts.iter().any(|act| subject.contains(&format!(".{act}.")));
        let streams = permissions("wf", role).publish.into_iter().filter(acts);
        streams.filter(|subject| !subject.contains(".OBJ_") && !subject.contains("MSG.DELETE")).collect()
    };
    assert_eq!(makes(&worker("thumbnail")), [""; 0]);
    let purges = ["thumbnail", "webhook"].map(|queue| [format!("PURGE.DELAY_{queue}")]);
    let events = ["thumbnail", "webhook"].map(|queue| ["CREATE", "UPDATE"].map(|act| format!("{act}.EVENTS_{queue}")));
    let expected = events.into_iter().zip(purges).flat_map(|(events, purges)| events.into_iter().chain(purges));
    assert_eq!(
        makes(&Role::Dispatcher),
        expected.map(|act| format!("$JS.API.STREAM.{act}")).collect::<Vec<_>>(),
        "and purges schedules of tasks that it has ended"
    );
    assert_eq!(makes(&Role::Provision).len(), 6, "four of streams, two of consumers");
}

#[test]
fn nobody_may_listen_to_everything_or_to_another_roles_inbox() {
    for role in Role::all(&queues(QUEUES)) {
        let Some(lists) = Permissions::of(&Names::default(), &queues(QUEUES), &role) else { continue };
        let inboxes: Vec<&String> = lists.subscribe.iter().filter(|subject| subject.starts_with("_INBOX")).collect();
        assert_eq!(inboxes, [&format!("_INBOX_{role}.>")]);
        let all = lists.publish.iter().chain(&lists.subscribe);
        for subject in all {
            assert!(
                !subject.starts_with(['*', '>']) && subject != "$JS.>" && subject != "$JS.API.>",
                "{role}: {subject}"
            );
        }
    }
}

#[test]
fn two_fleets_share_no_subject_but_those_of_the_broker_itself() {
    let shared = |subject: &String| subject.contains('*') && subject.starts_with("$JS.API.");
    for role in [Role::Dispatcher, worker("webhook")] {
        let blue: BTreeSet<String> = permissions("blue", &role).publish.into_iter().collect();
        let both = permissions("wf", &role).publish.into_iter().filter(|subject| blue.contains(subject));
        assert_eq!(both.filter(|subject| !shared(subject)).collect::<Vec<_>>(), [""; 0]);
    }
    assert!(permissions("blue", &worker("webhook")).publish.contains(&"$KV.BLUE_WORKERS.webhook.*".to_owned()));
}

#[test]
fn a_role_is_read_as_it_is_written() {
    for role in Role::all(&queues(QUEUES)) {
        assert_eq!(role.to_string().parse(), Ok(role));
    }
    for wrong in ["", "worker", "worker-", "worker-A", "admin", "worker-../x"] {
        assert!(wrong.parse::<Role>().is_err(), "{wrong:?}");
    }
}

#[test]
fn seeds_are_made_once_and_are_their_owners_alone() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path().join("credentials");
    let report = written(&dir, None).unwrap();
    assert!(report.lines.iter().all(|line| line.change == Change::Made) && report.auth_conf == Change::Made);
    let first = contents(&dir);
    let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "audit.nk",
        "auth.conf",
        "backup.nk",
        "dispatcher.nk",
        "provision.nk",
        "sys.nk",
        "worker-thumbnail.nk",
        "worker-webhook.nk",
    ];
    assert_eq!(names, expected);
    assert_eq!(mode(&dir), 0o700);
    assert!(names.iter().all(|name| mode(&dir.join(name)) == 0o600));

    fs::set_permissions(dir.join("sys.nk"), fs::Permissions::from_mode(0o644)).unwrap();
    let again = written(&dir, None).unwrap();
    assert!(again.lines.iter().all(|line| line.change == Change::Kept) && again.auth_conf == Change::Kept);
    assert_eq!((contents(&dir), mode(&dir.join("sys.nk"))), (first, 0o600));
}

#[test]
fn the_configuration_has_public_keys_and_no_seed() {
    let dir = TempDir::new().unwrap();
    let report = written(dir.path(), None).unwrap();
    let conf = fs::read_to_string(dir.path().join(AUTH_CONF)).unwrap();
    for line in &report.lines {
        let seed = seed(dir.path(), &line.role.to_string());
        assert_eq!(KeyPair::from_seed(seed.trim()).unwrap().public_key(), line.public_key);
        assert_eq!((conf.matches(&line.public_key).count(), conf.contains(seed.trim())), (1, false));
        let told = format!("{report:?}{}", serde_json::to_string(&report).unwrap());
        assert!(!told.contains(seed.trim()), "the report is shown and logged");
    }
    assert!(conf.contains("\"$JS.API.STREAM.MSG.GET.TASKS_thumbnail\""), "{conf}");
}

/// The lines of an account, and those of one of its lists.
fn account<'a>(conf: &'a str, name: &str) -> &'a str {
    let (_, account) = conf.split_once(&format!("\n  \"{name}\" {{\n")).expect("the account is there");
    account.split("\n  }\n").next().unwrap()
}

#[test]
fn every_queue_has_an_account_that_asks_the_fleets_for_what_its_workers_may() {
    let dir = TempDir::new().unwrap();
    let report = written(dir.path(), None).unwrap();
    let conf = fs::read_to_string(dir.path().join(AUTH_CONF)).unwrap();
    let fleet = account(&conf, "WORKFLEET");
    for queue in ["thumbnail", "webhook"] {
        let role = worker(queue);
        let own = account(&conf, &role.to_string());
        let key = &report.lines.iter().find(|line| line.role == role).unwrap().public_key;
        assert!(own.contains(key) && !fleet.contains(key) && !own.contains("jetstream"), "{own}");
        let (_, imports) = own.split_once("imports: [").unwrap();
        let imported = imports.lines().filter_map(|line| line.trim().split_once("subject: \"")?.1.split('"').next());
        let imported: BTreeSet<&str> = imported.collect();
        let lists = permissions("wf", &role);
        let asked: BTreeSet<&str> = lists.publish.iter().map(String::as_str).chain(["$JS.API.INFO"]).collect();
        assert_eq!(imported, asked);
        for subject in imported {
            let export = fleet.lines().find(|line| line.contains(&format!("service: \"{subject}\","))).unwrap();
            assert!(export.contains(&format!("\"{role}\"")), "{export}");
        }
        assert!(own.contains(&format!("{{ service: \"wf.call.{queue}\", accounts: [\"WORKFLEET\"] }}")), "{own}");
        let cancel = own.lines().find(|line| line.contains(&format!("service: \"wf.cancel.{queue}\", accounts")));
        assert!(cancel.is_some_and(|export| export.contains("response_type: stream")), "every worker answers: {own}");
    }
    let submits: Vec<&str> = fleet.lines().filter(|line| line.contains("wf.submit.webhook")).collect();
    assert!(submits[0].contains("worker-thumbnail") && !submits[0].contains("worker-webhook"), "{submits:?}");
}

#[test]
fn a_queue_that_is_gone_has_no_user_and_keeps_its_seed() {
    let dir = TempDir::new().unwrap();
    let report = written(dir.path(), None).unwrap();
    let gone = report.lines.iter().find(|line| line.role == worker("webhook")).unwrap();
    let before = seed(dir.path(), "worker-webhook");
    let report = write(dir.path(), &queues("[queue.thumbnail]\n"), &Prefix::default(), None).unwrap();
    assert_eq!(report.left, [dir.path().join("worker-webhook.nk")]);
    assert_eq!((report.auth_conf, seed(dir.path(), "worker-webhook")), (Change::Changed, before));
    assert!(!fs::read_to_string(dir.path().join(AUTH_CONF)).unwrap().contains(&gone.public_key));
    let report = written(dir.path(), None).unwrap();
    assert!(report.lines.contains(gone).then_some(()).is_none() && report.left.is_empty());
    assert!(report.lines.iter().any(|line| line.public_key == gone.public_key && line.change == Change::Kept));
}

#[test]
fn what_is_no_seed_is_named_and_left_alone() {
    let dir = TempDir::new().unwrap();
    written(dir.path(), None).unwrap();
    for wrong in ["", "SUXXXX", "not a seed\n", &KeyPair::new_account().seed().unwrap()] {
        fs::write(dir.path().join("dispatcher.nk"), wrong).unwrap();
        let error = written(dir.path(), None).unwrap_err();
        assert!(error.to_string().contains("dispatcher.nk") && error.code() == "garbled_key", "{error}");
        assert!(wrong.trim().is_empty() || !error.to_string().contains(wrong.trim()), "{error}");
        assert_eq!(seed(dir.path(), "dispatcher"), wrong);
    }
    let unknown = Rotate::Begin(worker("nowhere"));
    let error = written(dir.path(), Some(&unknown)).unwrap_err();
    assert!(error.to_string().contains("worker-thumbnail"), "{error}");
}
