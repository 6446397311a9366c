//! A role's key is replaced by another one, while its processes go on.

use std::fs;

use tempfile::TempDir;

use super::tests::{worker, written};
use super::{AUTH_CONF, Change, CredentialsError, Report, Role, Rotate};

#[test]
fn a_rotation_keeps_the_old_key_until_it_is_finished() {
    let dir = TempDir::new().unwrap();
    let conf = || fs::read_to_string(dir.path().join(AUTH_CONF)).unwrap();
    let line = |report: Report| report.lines.into_iter().find(|line| line.role == worker("webhook")).unwrap();
    let old = line(written(dir.path(), None).unwrap()).public_key;
    let begin = Rotate::Begin(worker("webhook"));

    let rotated = line(written(dir.path(), Some(&begin)).unwrap());
    assert_eq!((rotated.change, rotated.previous_key.as_ref()), (Change::Rotated, Some(&old)));
    assert_eq!((conf().matches(&old).count(), conf().matches(&rotated.public_key).count()), (1, 1));
    let kept = line(written(dir.path(), None).unwrap());
    assert_eq!(
        (kept.change, &kept.public_key, kept.previous_key),
        (Change::Kept, &rotated.public_key, Some(old.clone()))
    );
    let refused = written(dir.path(), Some(&begin)).unwrap_err();
    assert!(matches!(refused, CredentialsError::Unfinished { .. }), "{refused}");
    assert_eq!(conf().matches(&old).count(), 1, "nothing has changed");

    let finish = Rotate::Finish(worker("webhook"));
    let finished = line(written(dir.path(), Some(&finish)).unwrap());
    assert_eq!((finished.change, &finished.public_key), (Change::Finished, &rotated.public_key));
    assert!(!conf().contains(&old));
    assert_eq!(line(written(dir.path(), Some(&finish)).unwrap()).change, Change::Kept);
}

#[test]
fn a_stolen_key_is_replaced_in_one_step_also_while_a_rotation_is_not_finished() {
    let dir = TempDir::new().unwrap();
    let line = |report: Report| report.lines.into_iter().find(|line| line.role == worker("webhook")).unwrap();
    let first = line(written(dir.path(), None).unwrap()).public_key;
    let second = line(written(dir.path(), Some(&Rotate::Begin(worker("webhook")))).unwrap()).public_key;
    let replaced = line(written(dir.path(), Some(&Rotate::Replace(worker("webhook")))).unwrap());
    assert_eq!((replaced.change, replaced.previous_key), (Change::Replaced, None));
    let conf = fs::read_to_string(dir.path().join(AUTH_CONF)).unwrap();
    assert!(conf.contains(&replaced.public_key) && !conf.contains(&first) && !conf.contains(&second));
}

#[test]
fn a_rotation_that_broke_off_can_begin_again() {
    let dir = TempDir::new().unwrap();
    let report = written(dir.path(), None).unwrap();
    let key = &report.lines.iter().find(|line| line.role == Role::Dispatcher).unwrap().public_key;
    fs::write(dir.path().join("dispatcher.previous"), key).unwrap();
    let report = written(dir.path(), Some(&Rotate::Begin(Role::Dispatcher))).unwrap();
    let line = report.lines.iter().find(|line| line.role == Role::Dispatcher).unwrap();
    assert_eq!((line.change, line.previous_key.as_ref()), (Change::Rotated, Some(key)));
    assert_ne!(&line.public_key, key);
}
