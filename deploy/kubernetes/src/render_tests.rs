//! In a temporary copy.

use std::fs;
use std::path::Path;

use super::{MARK, RenderError, Rendered};

/// A folder with the fleet that is shipped and these templates.
fn folder(templates: &[(&str, &str)]) -> tempfile::TempDir {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().unwrap();
    let kinds = here.join("../../proto/kinds").display().to_string();
    let fleet = fs::read_to_string(here.join("fleet.toml")).unwrap().replace("../../proto/kinds", &kinds);
    fs::write(folder.path().join("fleet.toml"), fleet).unwrap();
    for (name, text) in templates {
        let path = folder.path().join("templates").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

#[test]
fn a_template_of_workers_is_rendered_for_each_and_one_of_the_fleet_once() {
    let folder = folder(&[
        ("worker/base/NAME/grace.yaml", "{% include \"parts/name.yaml\" %}\ngrace: {{ worker.grace_s }}\n"),
        ("fleet/base/all.yaml", "all:\n{% for worker in workers %}\n  - {{ worker.name | quoted }}\n{% endfor %}\n"),
        ("parts/name.yaml", "name: {{ worker.name }}\n"),
    ]);
    let rendered = Rendered::read(folder.path()).unwrap();
    let grace = &rendered.files()[Path::new("base/webhook/grace.yaml")];
    let margin = workfleet_sdk::SHUTDOWN_MARGIN.as_secs();
    assert!(
        grace.starts_with(&format!("# {MARK} from fleet.toml and templates/worker/base/NAME/grace.yaml")),
        "{grace}"
    );
    assert!(grace.ends_with(&format!("\nname: webhook\ngrace: {}\n", 30 + margin)), "{grace}");
    let all = &rendered.files()[Path::new("base/all.yaml")];
    assert!(all.ends_with("\nall:\n  - \"email\"\n  - \"thumbnail\"\n  - \"webhook\"\n"), "{all}");
    assert!(!rendered.files().keys().any(|path| path.starts_with("parts")), "parts are no files of their own");
    assert!(rendered.files()[Path::new("base/queues/webhook.proto")].starts_with(&format!("// {MARK}")));
}

#[test]
fn a_name_that_nobody_knows_is_an_error_with_its_place() {
    let folder = folder(&[("fleet/base/wrong.yaml", "a: 1\nb: {{ namespaces }}\n")]);
    let error = Rendered::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("templates/fleet/base/wrong.yaml") && error.contains(":2"), "{error}");
}

#[test]
fn what_differs_is_told_and_written_and_what_is_left_over_is_removed() {
    let folder = folder(&[("fleet/base/one.yaml", "one: 1\n"), ("fleet/base/two.yaml", "two: 2\n")]);
    let root = folder.path();
    let rendered = Rendered::read(root).unwrap();
    rendered.write(root).unwrap();
    rendered.check(root).unwrap();

    fs::write(root.join("base/one.yaml"), "one: 3\n").unwrap();
    fs::write(root.join("base/gone.yaml"), format!("# {MARK} from nothing\n")).unwrap();
    fs::write(root.join("base/own.yaml"), "# Written by hand.\n").unwrap();
    let Err(RenderError::Differ(paths)) = rendered.check(root) else { panic!("a changed file is noticed") };
    assert_eq!(paths, [Path::new("base/one.yaml"), Path::new("base/gone.yaml")]);

    assert_eq!(rendered.write(root).unwrap(), paths);
    rendered.check(root).unwrap();
    assert!(!root.join("base/gone.yaml").exists() && root.join("base/own.yaml").exists());
}

#[test]
fn two_templates_of_one_file_are_an_error() {
    let folder = folder(&[("fleet/base/webhook.yaml", "a: 1\n"), ("worker/base/NAME.yaml", "a: 2\n")]);
    assert!(
        matches!(Rendered::read(folder.path()), Err(RenderError::Twice(path)) if path == Path::new("base/webhook.yaml"))
    );
}
