//! Files from templates: written, or compared with what is there.
//!
//! A template below `templates/worker/` is rendered once per worker, with `NAME` in its path replaced; one below
//! `templates/fleet/` once. The output has the same path below the folder. What lies in `templates/parts/` is only included
//! by others. Rendered files are committed, so that a reviewer sees what a changed number does, and a user needs nothing
//! but kubectl; each begins with [`MARK`], by which those that nobody renders any more are found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use workfleet_sdk::SHUTDOWN_MARGIN;

use crate::context::Context;
use crate::fleet::{Fleet, FleetError, Site};
use crate::queues;

/// How a rendered file begins, after the sign of a comment.
pub const MARK: &str = "Rendered by `make manifests`";
/// Part of a path that becomes a worker's name.
const NAME: &str = "NAME";

/// Why nothing was rendered, or what differs.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// `fleet.toml` has mistakes.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A template has one.
    #[error("templates/{}: {}", .path.display(), full(.source))]
    Template {
        /// Below `templates/`.
        path: PathBuf,
        /// What minijinja says.
        source: minijinja::Error,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Two templates make one file.
    #[error("{}: made by two templates", .0.display())]
    Twice(PathBuf),
    /// Files are not what they should be.
    #[error("{}", list("not as fleet.toml and the templates say (run `make manifests`)", .0))]
    Differ(Vec<PathBuf>),
}

fn full(error: &minijinja::Error) -> String {
    format!("{error:#}")
}

/// Paths, one in a line, below a heading.
#[must_use]
pub fn list(heading: &str, paths: &[PathBuf]) -> String {
    let lines = paths.iter().map(|path| format!("\n  {}", path.display()));
    format!("{heading}:{}", lines.collect::<String>())
}

/// Every file as it should be.
#[derive(Debug)]
pub struct Rendered {
    files: BTreeMap<PathBuf, String>,
}

impl Rendered {
    /// Renders everything of a folder with `fleet.toml` and `templates/`.
    ///
    /// # Errors
    /// The mistakes of the file, or the first of a template.
    pub fn read(dir: &Path) -> Result<Self, RenderError> {
        Self::of(&Fleet::read(dir)?, dir)
    }

    /// Renders everything for a fleet that was read already.
    ///
    /// # Errors
    /// The first mistake of a template.
    pub fn of(fleet: &Fleet, dir: &Path) -> Result<Self, RenderError> {
        let root = dir.join("templates");
        let mut sources = BTreeMap::new();
        for path in files_below(&root)? {
            let text = read(&root.join(&path))?;
            sources.insert(path.to_string_lossy().into_owned(), text);
        }
        let environment = environment(&sources)?;
        let context = Context::new(fleet, SHUTDOWN_MARGIN);
        let mut rendered = Self { files: BTreeMap::new() };
        for source in sources.keys() {
            rendered.template(&environment, &context, source)?;
        }
        rendered.queues(fleet, &fleet.base, Path::new("base/queues"))?;
        rendered.queues(fleet, &fleet.production, Path::new("overlays/production/queues"))?;
        Ok(rendered)
    }

    /// Every file, by its path below the folder.
    #[must_use]
    pub fn files(&self) -> &BTreeMap<PathBuf, String> {
        &self.files
    }

    fn template(&mut self, environment: &Environment<'_>, context: &Context, source: &str) -> Result<(), RenderError> {
        let failed = |error| RenderError::Template { path: PathBuf::from(source), source: error };
        let origin = format!("from fleet.toml and templates/{source}: change those, not this file.");
        let template = environment.get_template(source).map_err(failed)?;
        let fleet = Value::from(Serde(context));
        if let Some(path) = source.strip_prefix("fleet/") {
            let text = template.render(fleet).map_err(failed)?;
            return self.add(PathBuf::from(path), &origin, &text);
        }
        let Some(path) = source.strip_prefix("worker/") else { return Ok(()) };
        for worker in context.workers() {
            let text =
                template.render(context! { worker => Value::from(Serde(worker)), ..fleet.clone() }).map_err(failed)?;
            self.add(PathBuf::from(path.replace(NAME, &worker.name)), &origin, &text)?;
        }
        Ok(())
    }

    fn queues(&mut self, fleet: &Fleet, site: &Site, folder: &Path) -> Result<(), RenderError> {
        let origin = "from fleet.toml: change that, not this file.";
        self.add(folder.join(queues::FILE), origin, &queues::text(fleet, site))?;
        for worker in &fleet.workers {
            let text = read(&worker.proto)?;
            let origin = "as a copy, since kustomize reads no file outside its folder: change the worker's contract.";
            self.add(queues::contract_path(folder, worker), origin, &text)?;
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, origin: &str, text: &str) -> Result<(), RenderError> {
        let extension = path.extension().and_then(|extension| extension.to_str());
        let sign = match extension {
            Some("proto") => "//",
            _ => "#",
        };
        let text = format!("{sign} {MARK} {origin}\n{}", text.trim_end_matches('\n').to_owned() + "\n");
        match self.files.insert(path.clone(), text) {
            Some(_) => Err(RenderError::Twice(path)),
            None => Ok(()),
        }
    }

    /// Fails if a file differs, is missing, or is rendered by nothing any more.
    ///
    /// # Errors
    /// All those files, together.
    pub fn check(&self, dir: &Path) -> Result<(), RenderError> {
        let mut differ: Vec<PathBuf> = self.differing(dir).map(|(path, _)| path.clone()).collect();
        differ.extend(self.left_over(dir)?);
        if differ.is_empty() { Ok(()) } else { Err(RenderError::Differ(differ)) }
    }

    /// Writes what differs, and removes what is rendered by nothing any more. Says which files.
    ///
    /// # Errors
    /// The first file that cannot be written or removed.
    pub fn write(&self, dir: &Path) -> Result<Vec<PathBuf>, RenderError> {
        let mut touched = Vec::new();
        for (path, text) in self.differing(dir) {
            let full = dir.join(path);
            let failed = |source| RenderError::File { path: full.clone(), source };
            std::fs::create_dir_all(full.parent().unwrap_or(dir)).map_err(failed)?;
            std::fs::write(&full, text).map_err(failed)?;
            touched.push(path.clone());
        }
        for path in self.left_over(dir)? {
            let full = dir.join(&path);
            std::fs::remove_file(&full).map_err(|source| RenderError::File { path: full, source })?;
            touched.push(path);
        }
        Ok(touched)
    }

    fn differing<'a>(&'a self, dir: &Path) -> impl Iterator<Item = (&'a PathBuf, &'a String)> {
        let dir = dir.to_owned();
        self.files
            .iter()
            .filter(move |(path, text)| std::fs::read_to_string(dir.join(path)).ok().as_ref() != Some(*text))
    }

    fn left_over(&self, dir: &Path) -> Result<Vec<PathBuf>, RenderError> {
        let mut left = Vec::new();
        for folder in ["base", "components", "overlays"] {
            for path in files_below(&dir.join(folder))? {
                let path = Path::new(folder).join(path);
                let first = || std::fs::read(dir.join(&path)).unwrap_or_default();
                if !self.files.contains_key(&path) && is_marked(&first()) {
                    left.push(path);
                }
            }
        }
        Ok(left)
    }
}

fn is_marked(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    ["# ", "// "].iter().any(|sign| line.strip_prefix(sign).is_some_and(|rest| rest.starts_with(MARK)))
}

fn environment(sources: &BTreeMap<String, String>) -> Result<Environment<'_>, RenderError> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the usual signs do not overlap"));
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    // A string of JSON is one of YAML, so any value can stand where a string is wanted.
    environment.add_filter("quoted", |text: String| serde_json::Value::from(text).to_string());
    for (name, source) in sources {
        environment
            .add_template(name, source)
            .map_err(|error| RenderError::Template { path: PathBuf::from(name), source: error })?;
    }
    Ok(environment)
}

fn read(path: &Path) -> Result<String, RenderError> {
    std::fs::read_to_string(path).map_err(|source| RenderError::File { path: path.to_owned(), source })
}

/// Every file below a folder, by its path there, in order; none if there is no folder.
fn files_below(root: &Path) -> Result<Vec<PathBuf>, RenderError> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let full = root.join(&folder);
        if !full.is_dir() {
            continue;
        }
        let failed = |source| RenderError::File { path: full.clone(), source };
        for entry in std::fs::read_dir(&full).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let path = folder.join(entry.file_name());
            if entry.file_type().map_err(failed)?.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
#[path = "render_tests.rs"]
mod tests;
