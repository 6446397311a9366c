//! What keeps processes from staying behind.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::Signal;

use crate::support::{LOCAL, runs, signal, until};

#[test]
fn a_guarded_program_dies_with_a_parent_that_is_killed() {
    let script = r#""$0" guard --parent $$ -- sleep 600 & echo $!; wait"#;
    let mut parent = Command::new("sh").args(["-c", script, LOCAL]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(parent.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let child: u32 = line.trim().parse().unwrap();
    until("the guard has become `sleep`", || {
        std::fs::read_to_string(format!("/proc/{child}/comm")).ok().filter(|name| name.trim() == "sleep")
    });
    signal(parent.id(), Signal::KILL);
    parent.wait().unwrap();
    until("the child is gone", || (!runs(child)).then_some(()));
}

#[test]
fn a_guard_whose_parent_is_gone_starts_nothing() {
    let output = Command::new(LOCAL).args(["guard", "--parent", "1", "--", "echo", "started"]).output().unwrap();
    assert!(!output.status.success());
    assert_eq!(output.stdout, b"");
    assert!(String::from_utf8_lossy(&output.stderr).contains("the supervisor is gone"));
}
