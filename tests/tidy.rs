//! What no compiler checks: that the code stays readable and the documents stay true.
//!
//! Simple counting, no parser: a check that needs a parser would be a second compiler to keep up to date.

use std::path::{Path, PathBuf};

use workfleet_tests::workspace;

const FILE_LINES_MAX: usize = 300;
const FUNCTION_LINES_MAX: usize = 70;

/// Every file that is part of the project, by git's own list.
fn files(extension: &str) -> Vec<PathBuf> {
    let output = std::process::Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(workspace())
        .output()
        .expect("git lists the files");
    let list = String::from_utf8(output.stdout).expect("paths are text");
    let wanted = list.lines().filter(|path| Path::new(path).extension().is_some_and(|found| found == extension));
    let files: Vec<PathBuf> = wanted.map(PathBuf::from).filter(|path| workspace().join(path).is_file()).collect();
    assert!(!files.is_empty(), "no .{extension} file in {}", workspace().display());
    files
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[track_caller]
fn none(mistakes: &[String]) {
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
}

#[test]
fn no_file_is_longer_than_300_lines_before_its_tests() {
    let lines = |path: &PathBuf| {
        let text = read(path);
        text.lines().position(|line| line == "#[cfg(test)]").unwrap_or_else(|| text.lines().count())
    };
    let long = files("rs").into_iter().map(|path| (lines(&path), path)).filter(|(lines, _)| *lines > FILE_LINES_MAX);
    none(&long.map(|(lines, path)| format!("{}: {lines} lines", path.display())).collect::<Vec<_>>());
}

#[test]
fn no_function_is_longer_than_70_lines() {
    let mut long = Vec::new();
    for path in files("rs") {
        for (name, lines) in functions(&read(&path)) {
            if lines > FUNCTION_LINES_MAX {
                long.push(format!("{}: {name}: {lines} lines", path.display()));
            }
        }
    }
    none(&long);
}

/// Each function's first line and its length. rustfmt puts the closing brace under the first letter of the signature.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let indent = |line: &str| line.len() - line.trim_start().len();
    let mut functions = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let words: Vec<&str> = line.split_whitespace().take_while(|word| !word.contains('(')).collect();
        let begins = line.trim_start().starts_with("fn ") || words.contains(&"fn");
        if !begins || line.trim_start().starts_with("//") || line.trim_end().ends_with([';', '}']) {
            continue;
        }
        let end = lines[at..].iter().position(|end| indent(end) == indent(line) && end.trim() == "}");
        if let Some(length) = end {
            functions.push((line.trim().to_owned(), length + 1));
        }
    }
    functions
}

#[test]
fn the_counting_of_functions_counts() {
    let text = "    pub async fn a(\n        b: u8,\n    ) -> u8 {\n        if b {\n        }\n    }\n\nfn c() {\n}\nfn d();\n";
    let lengths: Vec<usize> = functions(text).into_iter().map(|(_, lines)| lines).collect();
    assert_eq!(lengths, [6, 2]);
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut dead = Vec::new();
    for path in files("md") {
        for target in links(&read(&path)) {
            let (file, heading) = target.split_once('#').unwrap_or((&target, ""));
            let folder = path.parent().unwrap_or(Path::new(""));
            let linked = if file.is_empty() { path.clone() } else { folder.join(file) };
            if !workspace().join(&linked).exists() {
                dead.push(format!("{}: {target}", path.display()));
            } else if !heading.is_empty()
                && file.ends_with(".md")
                && !headings(&read(&linked)).contains(&heading.to_owned())
            {
                dead.push(format!("{}: {target}: no such heading", path.display()));
            }
        }
    }
    none(&dead);
}

/// Targets of `[text](target)` outside code; those on other machines are not looked at.
fn links(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for prose in text.split("```").step_by(2) {
        for (at, _) in prose.match_indices("](") {
            let target = prose[at + 2..].split([')', ' ', '\n']).next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                targets.push(target.to_owned());
            }
        }
    }
    targets
}

/// Headings as GitHub makes anchors of them.
fn headings(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn every_crate_goes_by_the_workspaces_lints() {
    let crates = files("toml").into_iter().filter(|path| path.ends_with("Cargo.toml") && path.components().count() > 1);
    let lax = crates.filter(|path| !read(path).contains("[lints]\nworkspace = true"));
    none(&lax.map(|path| format!("{}: no `[lints] workspace = true`", path.display())).collect::<Vec<_>>());
}

#[test]
fn every_source_file_says_what_it_is() {
    let silent = files("rs").into_iter().filter(|path| {
        let begins_with_doc = read(path).starts_with("//!");
        // A module of tests is described where it is declared.
        !begins_with_doc && !path.starts_with("tests/e2e") && !path.to_string_lossy().ends_with("tests.rs")
    });
    none(&silent.map(|path| format!("{}: no `//!`", path.display())).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_to_do() {
    let marks =
        [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["todo", "!("].concat(), ["unimplemented", "!("].concat()];
    let mut left = Vec::new();
    for path in files("rs").into_iter().chain(files("proto")).chain(files("md")) {
        // What a hidden line of an example leaves out is not part of the program.
        let text: String = read(&path).lines().filter(|line| !line.trim_start().starts_with("/// #")).collect();
        left.extend(marks.iter().filter(|mark| text.contains(*mark)).map(|mark| format!("{}: {mark}", path.display())));
    }
    none(&left);
}

#[test]
fn the_core_crates_are_there_once() {
    let lock = read(Path::new("Cargo.lock"));
    for name in ["tonic", "prost", "hyper", "tokio", "opentelemetry", "async-nats"] {
        let line = format!("\nname = \"{name}\"\n");
        assert_eq!(lock.matches(&line).count(), 1, "{name} in Cargo.lock");
    }
}

#[test]
fn every_variable_is_in_the_documents() {
    let documents = read(Path::new("docs/configuration.md"));
    let mut missing = Vec::new();
    let is_test = |path: &PathBuf| path.iter().any(|part| part == "tests");
    for path in files("rs").into_iter().filter(|path| !is_test(path)) {
        let text = read(&path);
        for (at, _) in text.match_indices("\"WORKFLEET_") {
            let name = text[at + 1..].split(|c: char| !c.is_ascii_uppercase() && c != '_').next().unwrap_or_default();
            if !documents.contains(name) {
                missing.push(format!("{}: {name}", path.display()));
            }
        }
    }
    none(&missing);
}
