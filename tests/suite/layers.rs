//! Which package may name which: data flows one way.

use std::fs;

use crate::tidy::{files, root};

fn manifest(path: &str) -> toml::Table {
    let text = fs::read_to_string(root().join(path)).expect("a manifest");
    text.parse().unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn dependencies(manifest: &toml::Table) -> Vec<&str> {
    manifest["dependencies"].as_table().expect("a table of dependencies").keys().map(String::as_str).collect()
}

/// Lines of the sources below `folder` that contain `word`, comments aside, except in the files that `allowed` names.
fn mentions(folder: &str, word: &str, allowed: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in files(&root().join(folder), "rs") {
        let shown = path.strip_prefix(root()).expect("below the root").display().to_string();
        if allowed.iter().any(|prefix| shown.starts_with(prefix)) {
            continue;
        }
        for (number, line) in fs::read_to_string(&path).expect("a source file").lines().enumerate() {
            if line.contains(word) && !line.trim_start().starts_with("//") {
                found.push(format!("{shown}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    found
}

#[test]
fn the_core_knows_no_harness() {
    let manifest = manifest("Cargo.toml");
    let dependencies = dependencies(&manifest);
    assert!(!dependencies.contains(&"skiptrace-sim"), "the core depends on the harness");
    assert!(!dependencies.contains(&"skiptrace-model"), "the core depends on the model");
}

#[test]
fn the_model_knows_no_event_store() {
    let manifest = manifest("sim/model/Cargo.toml");
    assert!(
        dependencies(&manifest).iter().all(|name| !["skiptrace", "skiptrace-sim"].contains(name)),
        "the model depends on the core or the harness"
    );
}

#[test]
fn only_the_port_names_the_driver_in_the_core() {
    let found = mentions("src", "tokio", &["src/postgres/"]);
    assert!(found.is_empty(), "the core reaches a database through `Session` alone:\n{}", found.join("\n"));
}

#[test]
fn only_backend_names_the_model_in_the_harness() {
    let found = mentions("sim/src", "skiptrace_model", &["sim/src/backend/"]);
    assert!(found.is_empty(), "the harness is generic over `backend::Database`:\n{}", found.join("\n"));
}
