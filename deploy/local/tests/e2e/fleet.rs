//! A fleet as scripts see it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};

use rustix::process::Signal;
use serde_json::Value;

use crate::support::{LOCAL, runs, signal, until};

/// A fleet that is up; killed when dropped.
struct Up {
    supervisor: Child,
    folder: tempfile::TempDir,
    /// All that was ever seen of it.
    pids: Vec<u32>,
}

impl Up {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let words = folder.path().join("words");
        let mut command = Command::new(LOCAL);
        command.arg("up").arg("--data").arg(folder.path()).args(arguments).stderr(File::create(&words).unwrap());
        let mut up = Self { supervisor: command.spawn().unwrap(), folder, pids: Vec::new() };
        until("fleet.json is there", || {
            let said = || std::fs::read_to_string(&words).unwrap();
            assert!(runs(up.supervisor.id()), "the supervisor has ended: {}", said());
            up.folder.path().join("fleet.json").exists().then_some(())
        });
        up.report();
        up
    }

    fn report(&mut self) -> Value {
        let report: Value =
            serde_json::from_slice(&std::fs::read(self.folder.path().join("fleet.json")).unwrap()).unwrap();
        let pids = report["processes"].as_array().unwrap().iter().map(|process| process["pid"].as_u64().unwrap());
        self.pids.extend(pids.map(|pid| u32::try_from(pid).unwrap()));
        report
    }

    /// Process ids of the workers that are ready.
    fn workers(&mut self) -> Vec<u32> {
        let report = self.report();
        let processes = report["processes"].as_array().unwrap().clone();
        let workers = processes.iter().filter(|process| process["kind"] == "thumbnail" && !process["admin"].is_null());
        workers.map(|worker| u32::try_from(worker["pid"].as_u64().unwrap()).unwrap()).collect()
    }

    fn scale(&self, replicas: &str) -> Result<(), String> {
        let mut command = Command::new(LOCAL);
        let output = command.arg("scale").arg("--data").arg(self.folder.path()).arg(replicas).output().unwrap();
        if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
    }

    fn all_gone(&self) {
        until("nothing is left", || self.pids.iter().all(|pid| !runs(*pid)).then_some(()));
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

#[test]
fn a_fleet_is_scaled_mended_and_drained() {
    let mut up = Up::start(&["--scale", "thumbnail=1,webhook=1,email=1"]);
    assert_eq!(up.workers().len(), 1);

    up.scale("thumbnail=3").unwrap();
    let three = up.workers();
    assert_eq!(three.len(), 3);

    signal(three[0], Signal::KILL);
    until("another takes its place", || {
        let workers = up.workers();
        (workers.len() == 3 && !workers.contains(&three[0])).then_some(())
    });

    up.scale("thumbnail=0").unwrap();
    assert_eq!(up.workers(), [0_u32; 0]);
    up.all_gone_but_the_rest();
    assert!(up.scale("thumbs=1").unwrap_err().contains("there are: email, thumbnail, webhook"));
    assert!(second_fleet(up.folder.path()).contains("already up"));

    signal(up.supervisor.id(), Signal::TERM);
    assert!(up.supervisor.wait().unwrap().success());
    up.all_gone();
    assert!(!up.folder.path().join("fleet.json").exists());
    assert!(up.scale("thumbnail=1").unwrap_err().contains("no fleet is up"));
}

#[test]
fn a_fleet_has_all_three_workers_and_an_outside_of_its_own() {
    let mut up = Up::start(&["--scale", "thumbnail=1,webhook=1,email=1"]);
    let report = up.report();
    let processes = report["processes"].as_array().unwrap();
    let kinds: Vec<&str> = processes.iter().filter_map(|process| process["kind"].as_str()).collect();
    assert_eq!(kinds, ["email", "thumbnail", "webhook"]);
    assert_eq!(processes.iter().filter(|process| process["role"] == "sink").count(), 2);

    // The receiver takes nothing that is not signed with this fleet's secret.
    let receiver = report["webhook_receiver"].as_str().unwrap().strip_prefix("http://").unwrap().to_owned();
    let mut stream = TcpStream::connect(receiver).unwrap();
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    let lines = std::fs::read_to_string(report["webhooks"].as_str().unwrap()).unwrap();
    assert!(lines.contains(r#""signature":"wrong""#), "{lines}");
    assert!(Path::new(report["mails"].as_str().unwrap()).is_dir());

    let secret = up.folder.path().join("run/secrets/default");
    assert_eq!(std::fs::metadata(secret).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn the_doctor_grades_a_fleet_with_nothing_but_what_the_fleet_said() {
    let mut up = Up::start(&["--scale", "thumbnail=0,webhook=0,email=0"]);
    let words = || std::fs::read_to_string(up.folder.path().join("words")).unwrap();
    let exports = until("the fleet says what to export", || {
        words().lines().find_map(|line| Some(line.trim().strip_prefix("export ")?.to_owned()))
    });
    let mut command = Command::new(Path::new(LOCAL).with_file_name("workfleet"));
    command.args(["doctor", "--json"]).envs(exports.split(' ').map(|pair| pair.split_once('=').unwrap()));
    let output = command.output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert_eq!((&said["grade"], &said["servers"][0]["sync"]), (&Value::from("D"), &Value::from("2m")), "{said}");
    let monitor = up.report()["nats_monitor"].as_str().unwrap().to_owned();
    assert!(monitor.starts_with("http://127.0.0.1:") && exports.contains(&monitor), "{monitor}: {exports}");
}

#[test]
fn nothing_is_left_of_a_fleet_whose_supervisor_is_killed() {
    let mut up = Up::start(&[]);
    assert_eq!(up.workers().len(), 2);
    signal(up.supervisor.id(), Signal::KILL);
    up.all_gone();
}

#[test]
fn the_demo_is_well_and_leaves_nothing() {
    let output = Command::new(LOCAL).args(["demo", "--once"]).output().unwrap();
    let (words, result) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(output.status.success(), "{words}\n{result}");
    assert!(result.contains("failed, as intended: broken_image: ") && result.contains("All was well."), "{result}");
    let tally = "7 images done, 7 webhooks delivered and verified by their receiver, 2 mails sent.";
    assert!(result.contains(tally), "{result}");
    assert!(result.contains("over two queues") && result.contains("process webhook"), "{result}");
    for line in words.lines().filter(|line| line.contains(": ready")) {
        let (_, pid) = line.rsplit_once("(pid ").unwrap();
        assert!(!runs(pid.trim_end_matches(')').parse().unwrap()), "{line}");
    }
}

impl Up {
    /// Workers that were scaled away are gone, and nobody else.
    fn all_gone_but_the_rest(&mut self) {
        let report = self.report();
        let stays: Vec<u64> =
            report["processes"].as_array().unwrap().iter().filter_map(|process| process["pid"].as_u64()).collect();
        for pid in &self.pids {
            assert_eq!(runs(*pid), stays.contains(&u64::from(*pid)), "process {pid}");
        }
    }
}

/// What a second fleet with the same folder says before it gives up.
fn second_fleet(folder: &Path) -> String {
    let output = Command::new(LOCAL).arg("up").arg("--data").arg(folder).output().unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}
