use std::collections::HashSet;

use serde_json::Value;
use workfleet_proto::Task;
use workfleet_proto::kinds::thumbnail::ThumbnailRequest;
use workfleet_proto::schema::KindSchema;

use super::document;

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

fn with_thumbnail() -> Value {
    let kind = KindSchema::read(ThumbnailRequest::DESCRIPTORS, ThumbnailRequest::SERVICE).expect("the kind's schema");
    document(&[("thumbnail".parse().expect("a name"), kind)])
}

/// Every operation with its path.
fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            METHODS.iter().filter_map(move |method| Some((format!("{method} {path}"), item.get(*method)?)))
        })
        .collect()
}

fn each<'a>(value: &'a Value, visit: &mut impl FnMut(&'a Value)) {
    visit(value);
    match value {
        Value::Array(items) => items.iter().for_each(|item| each(item, visit)),
        Value::Object(members) => members.values().for_each(|member| each(member, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_leads_somewhere() {
    let document = with_thumbnail();
    let mut seen = 0;
    each(&document, &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').expect("inside the document");
            assert!(document.pointer(pointer).is_some_and(|target| !target.is_null()), "{reference}");
            seen += 1;
        }
    });
    assert!(seen > 50, "only {seen} references");
}

#[test]
fn every_operation_has_a_name_of_its_own_and_says_what_it_answers() {
    let document = with_thumbnail();
    let operations = operations(&document);
    assert!(operations.len() >= 14, "{}", operations.len());
    let mut names = HashSet::new();
    for (place, operation) in operations {
        let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{place} has no operationId"));
        assert!(names.insert(name), "{place} repeats {name}");
        let responses = operation["responses"].as_object().unwrap_or_else(|| panic!("{place} has no responses"));
        assert!(responses.keys().any(|status| status.starts_with('2')), "{place}");
    }
}

#[test]
fn every_variable_of_a_path_is_a_parameter_of_it() {
    let document = with_thumbnail();
    for (path, item) in document["paths"].as_object().expect("paths") {
        let variables: Vec<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for variable in variables {
            let wanted = format!("#/components/parameters/{variable}");
            let given = item["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["$ref"] == wanted));
            assert!(given, "{path} does not describe {variable}");
        }
    }
}

#[test]
fn a_kind_has_paths_of_its_own_with_its_input_and_output() {
    let document = with_thumbnail();
    let submit = &document["paths"]["/v1/queues/thumbnail/tasks"]["post"];
    let input = &submit["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(input, "#/components/schemas/workfleet.kinds.thumbnail.v1.ThumbnailRequest");
    let task = &document["components"]["schemas"]["Task.thumbnail"];
    assert!(task.to_string().contains("workfleet.kinds.thumbnail.v1.ThumbnailReply"));
}

#[test]
fn every_call_but_the_probes_says_how_it_refuses_who_may_not() {
    let document = with_thumbnail();
    assert!(document["components"]["securitySchemes"]["bearer"].is_object());
    for (place, operation) in operations(&document) {
        let open = operation["security"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(open, place == "get /livez" || place == "get /readyz", "{place}");
        let refuses = ["401", "403"].iter().all(|status| operation["responses"].get(*status).is_some());
        assert_eq!(refuses, !open, "{place}");
    }
}

#[test]
fn nothing_is_null() {
    each(&with_thumbnail(), &mut |value| assert!(!value.is_null()));
}

#[test]
fn without_kinds_there_is_still_a_document() {
    let document = document(&[]);
    assert!(document["paths"].get("/v1/queues/thumbnail/tasks").is_none());
    assert!(document["paths"].get("/v1/tasks/{id}").is_some());
}
