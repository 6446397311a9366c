//! The images of `deploy/images/Dockerfile` are those that the manifests name, and nothing in them needs root or a shell.
//!
//! The file is read here and not built, so that this holds on a machine without a container engine too. A linter for
//! Dockerfiles would know general rules, not ours.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use workfleet_kubernetes::fleet::Fleet;

/// The images whose programs others make; their versions are those of the scripts that get them for a desk.
const OTHERS: [(&str, &str, &str); 2] = [("nats", "nats", "nats-server"), ("jaeger", "jaegertracing/jaeger", "jaeger")];
/// What a label's name begins with.
const LABEL: &str = "org.opencontainers.image.";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One `FROM ... AS name` with the instructions below it.
#[derive(Debug, Default)]
struct Stage {
    from: String,
    instructions: Vec<(String, String)>,
}

impl Stage {
    fn all<'a>(&'a self, keyword: &'a str) -> impl Iterator<Item = &'a str> {
        self.instructions.iter().filter(move |(found, _)| found == keyword).map(|(_, words)| words.as_str())
    }
}

#[derive(Debug, Default)]
struct Dockerfile {
    /// `ARG name=default` above the first stage.
    arguments: BTreeMap<String, String>,
    stages: BTreeMap<String, Stage>,
}

impl Dockerfile {
    fn read() -> Self {
        let text = read("deploy/images/Dockerfile");
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
        let mut file = Self::default();
        let mut name = None;
        for line in lines.replace("\\\n", " ").lines().filter(|line| !line.is_empty()) {
            let (keyword, words) = line.split_once(' ').expect("an instruction has words");
            let words = words.trim().to_owned();
            match (keyword, &name) {
                ("FROM", _) => {
                    let (from, stage) = words.rsplit_once(" AS ").expect("every stage has a name");
                    file.stages.insert(stage.to_owned(), Stage { from: from.to_owned(), ..Stage::default() });
                    name = Some(stage.to_owned());
                }
                ("ARG", None) => {
                    let (argument, default) = words.split_once('=').expect("an argument for all stages has a default");
                    file.arguments.insert(argument.to_owned(), default.to_owned());
                }
                (_, None) => panic!("{line:?} stands before the first FROM"),
                (_, Some(name)) => {
                    let stage = file.stages.get_mut(name).expect("it was inserted");
                    stage.instructions.push((keyword.to_owned(), words));
                }
            }
        }
        file
    }

    /// The stages that become images.
    fn images(&self) -> Vec<&str> {
        let with_program = self.stages.iter().filter(|(_, stage)| stage.all("ENTRYPOINT").next().is_some());
        with_program.map(|(name, _)| name.as_str()).collect()
    }

    /// A stage and those that it stands on, nearest first, and what the last of them stands on.
    fn chain<'a>(&'a self, name: &'a str) -> (Vec<&'a Stage>, &'a str) {
        let mut stages = Vec::new();
        let mut from = name;
        while let Some(stage) = self.stages.get(from) {
            stages.push(stage);
            from = &stage.from;
        }
        (stages, from)
    }
}

#[test]
fn the_dispatcher_and_every_worker_have_an_image() {
    let fleet = Fleet::read(&root().join("deploy/kubernetes")).expect("fleet.toml is right");
    let file = Dockerfile::read();
    for worker in &fleet.workers {
        let Some(name) = worker.image.strip_prefix("workfleet/") else { continue };
        assert!(file.images().contains(&name), "{name} of fleet.toml has no stage in the Dockerfile");
    }
    assert!(file.images().contains(&"dispatcher"));
}

#[test]
fn every_image_runs_one_program_as_nobody_in_particular() {
    let file = Dockerfile::read();
    for name in file.images() {
        let (chain, base) = file.chain(name);
        assert_eq!(base, "${BASE}", "{name}");
        let user = chain.iter().find_map(|stage| stage.all("USER").last()).unwrap_or("root");
        assert_eq!(user, "65532:65532", "{name}");
        for forbidden in ["RUN", "SHELL", "CMD", "ADD", "VOLUME"] {
            assert!(chain.iter().all(|stage| stage.all(forbidden).next().is_none()), "{name} has {forbidden}");
        }
        let entry = chain[0].all("ENTRYPOINT").next().expect("it is an image by that");
        let program = entry.strip_prefix("[\"/").and_then(|entry| entry.strip_suffix("\"]"));
        let program = program.unwrap_or_else(|| panic!("{name}: ENTRYPOINT {entry} is no one absolute path"));
        let copied: Vec<&str> = chain[0].all("COPY").collect();
        let file_name = program.rsplit('/').next().expect("a path has a last part");
        assert_eq!(copied, [format!("--from=programs /programs/{file_name} /{program}")], "{name}");
    }
}

#[test]
fn every_program_of_ours_is_compiled() {
    let file = Dockerfile::read();
    let compiles = file.stages["compiled"].all("RUN").collect::<Vec<_>>().join(" ");
    let compiled: BTreeSet<&str> = compiles.split_whitespace().filter(|word| word.starts_with("workfleet")).collect();
    let ours = file.stages.values().filter(|stage| stage.from == "workfleet");
    let programs = ours.flat_map(|stage| stage.all("COPY")).filter_map(|words| words.rsplit('/').next());
    assert_eq!(compiled, programs.collect::<BTreeSet<_>>());
}

#[test]
fn every_image_says_what_it_is() {
    let file = Dockerfile::read();
    for name in file.images() {
        let (chain, _) = file.chain(name);
        let labels: Vec<&str> = chain.iter().flat_map(|stage| stage.all("LABEL")).collect();
        let has = |label: &str| labels.iter().any(|words| words.contains(&format!("{LABEL}{label}=")));
        for label in ["title", "version", "source", "licenses"] {
            assert!(has(label), "{name} has no label {label}");
        }
        let ours = chain[0].from == "workfleet";
        assert_eq!(has("revision"), ours, "{name}: the revision is known of our own programs alone");
    }
}

#[test]
fn every_image_in_the_manifests_is_one_that_can_be_made() {
    let version = env!("CARGO_PKG_VERSION");
    let file = Dockerfile::read();
    let mut made: BTreeSet<String> =
        file.images().into_iter().map(|name| format!("workfleet/{name}:{version}")).collect();
    for (stage, image, script) in OTHERS {
        assert!(file.images().contains(&stage));
        let script = read(&format!("deploy/local/tools/{script}"));
        let pinned = script.lines().find_map(|line| line.strip_prefix("version=")).expect("the script pins a version");
        made.remove(&format!("workfleet/{stage}:{version}"));
        made.insert(format!("{image}:{pinned}"));
    }
    let named = images_in(&root().join("deploy/kubernetes"));
    assert!(!named.is_empty(), "no manifest names an image");
    for (path, image) in named {
        assert!(made.contains(&image), "{}: {image} is none of {made:?}", path.display());
    }
}

/// Every `image: name` in the manifests, as they are applied: templates are not.
fn images_in(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("the folder is there") {
        let path = entry.expect("its entries are readable").path();
        if path.is_dir() && !path.ends_with("templates") && !path.ends_with("tests") {
            found.extend(images_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).expect("a manifest is text");
            let images = text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix("image: "));
            found.extend(images.map(|image| (path.clone(), image.trim().to_owned())));
        }
    }
    found
}

#[test]
fn what_compiles_is_as_old_as_the_oldest_supported_compiler() {
    let file = Dockerfile::read();
    let rust = &file.arguments["RUST"];
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    assert!(rust.starts_with(&format!("rust:{oldest}-")), "{rust} in the Dockerfile, {oldest} in Cargo.toml");
    assert_eq!(file.arguments["BASE"], "scratch");
}

#[test]
fn no_credentials_go_to_the_engine() {
    let ignored = read("deploy/images/Dockerfile.dockerignore");
    for folder in [".*", "target", "deploy/kubernetes/overlays"] {
        assert!(ignored.lines().any(|line| line == folder), "{folder}");
    }
}
