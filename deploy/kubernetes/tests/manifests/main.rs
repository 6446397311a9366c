//! The manifests as a user applies them: every overlay and every component, built by kustomize with real credentials, and
//! checked by rules that no schema knows.
//!
//! A rule is a function from objects to mistakes. Each is tried on the whole fleet here, and on a small broken manifest
//! in `broken.rs`, so that it is known to notice.

mod broken;
mod builds;
mod objects;
mod rules;
mod schema;

use builds::{COMBINATIONS, builds, fleet, root};
use objects::Objects;
use workfleet_kubernetes::render::Rendered;

/// Tries a rule on every build.
#[track_caller]
fn hold(rule: impl Fn(&Objects) -> Vec<String>) {
    let mistakes: Vec<String> = builds()
        .iter()
        .flat_map(|build| rule(&build.objects).into_iter().map(|mistake| format!("{}: {mistake}", build.name)))
        .collect();
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
}

#[test]
fn what_is_committed_is_what_fleet_toml_and_the_templates_say() {
    let rendered = Rendered::read(&root()).unwrap_or_else(|error| panic!("{error}"));
    rendered.check(&root()).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn every_component_is_in_a_build() {
    let folders = std::fs::read_dir(root().join("components")).expect("there are components");
    let names = folders.map(|entry| entry.expect("it can be listed"));
    let names = names.filter(|entry| entry.path().join("kustomization.yaml").is_file());
    let production =
        std::fs::read_to_string(root().join("overlays/production/kustomization.yaml")).expect("it is there");
    let local = std::fs::read_to_string(root().join("overlays/local/kustomization.yaml")).expect("it is there");
    for name in names.map(|entry| entry.file_name().to_string_lossy().into_owned()) {
        let own = |combination: &builds::Combination| combination.components.contains(&name.as_str());
        let line = format!("  - ../../components/{name}\n");
        assert!(
            COMBINATIONS.iter().any(own) || production.contains(&line) || local.contains(&line),
            "components/{name} is built by no test: add it to COMBINATIONS"
        );
    }
}

#[test]
fn an_overlay_without_credentials_says_what_to_run() {
    for overlay in ["local", "production"] {
        let said = builds::without_credentials(overlay);
        assert!(said.contains("made-by-make-credentials"), "{overlay}: {said}");
    }
}

#[test]
fn a_cluster_knows_every_field() {
    let mistakes = schema::mistakes(builds().iter().map(|build| build.text.as_str()));
    assert!(mistakes.is_empty(), "\n{}\n", mistakes.join("\n"));
}

#[test]
fn every_pod_is_restricted_and_knows_no_token_of_the_cluster() {
    hold(rules::restricted::mistakes);
}

#[test]
fn the_namespace_enforces_restricted_pods() {
    hold(rules::restricted::namespace);
}

#[test]
fn every_pod_says_what_it_needs_and_is_probed() {
    hold(rules::restricted::resources_and_probes);
}

#[test]
fn grace_drain_slots_and_leases_agree_with_fleet_toml() {
    hold(|objects| rules::numbers::mistakes(objects, &fleet()));
}

#[test]
fn brokers_and_dispatchers_have_time_to_leave() {
    hold(rules::numbers::leaving);
}

#[test]
fn a_brokers_streams_fit_its_volume_and_its_servers() {
    hold(rules::numbers::broker);
}

#[test]
fn nobody_but_its_autoscaler_sets_replicas() {
    hold(rules::scaling::mistakes);
}

#[test]
fn keda_knows_every_field() {
    hold(rules::scaling::unknown_fields);
}

#[test]
fn whatever_is_named_exists() {
    hold(rules::references::mistakes);
}

#[test]
fn files_that_variables_and_arguments_name_are_mounted() {
    hold(rules::files::mistakes);
}

#[test]
fn no_secret_is_in_an_environment_variable() {
    hold(rules::files::secrets_in_env);
}

#[test]
fn services_budgets_and_deployments_select_pods() {
    hold(rules::selectors::mistakes);
}

#[test]
fn ports_that_are_named_exist() {
    hold(rules::selectors::ports);
}

#[test]
fn tls_is_between_all_parts_or_none_and_addresses_are_those_of_services() {
    hold(rules::tls::mistakes);
}
