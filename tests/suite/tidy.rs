//! House rules that no lint knows, as tests with a reason each.

use std::fs;
use std::path::{Path, PathBuf};

/// A file that a newcomer cannot take in at one sitting holds two ideas.
const FILE_LINES_MAX: usize = 600;

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file below `folder` whose name ends in `.extension`, sorted.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "target" && !name.to_string_lossy().starts_with('.')) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn no_file_is_longer_than_one_sitting() {
    let long: Vec<String> = files(&root(), "rs")
        .iter()
        .map(|path| (path, read(path).lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{}: {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "at most {FILE_LINES_MAX} lines a file; split by idea:\n{}", long.join("\n"));
}

#[test]
fn no_test_is_ignored_and_nothing_is_left_to_do() {
    // Spelled in two parts, so that this file does not convict itself.
    let banned = [["#[", "ignore"], ["todo", "!("], ["unimplemented", "!("], ["FIX", "ME"]].map(|parts| parts.concat());
    let mut found = Vec::new();
    for path in files(&root(), "rs") {
        for (number, line) in read(&path).lines().enumerate() {
            if banned.iter().any(|word| line.contains(word.as_str())) {
                found.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "do it, or delete it:\n{}", found.join("\n"));
}

#[test]
fn every_module_begins_with_its_chapter() {
    let bare: Vec<String> = files(&root(), "rs")
        .iter()
        .filter(|path| !read(path).starts_with("//!"))
        .map(|path| path.display().to_string())
        .collect();
    assert!(bare.is_empty(), "the first line of a file is `//! ` and says what it is for:\n{}", bare.join("\n"));
}

#[test]
fn the_changelog_names_this_version() {
    let changelog = read(&root().join("CHANGELOG.md"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        changelog.contains(&format!("## {version}")),
        "CHANGELOG.md has no heading `## {version}`: say what the version means to its user"
    );
}

#[test]
fn the_architecture_names_every_module() {
    let architecture = read(&root().join("ARCHITECTURE.md"));
    let mut missing = Vec::new();
    for folder in ["src", "sim/src", "sim/model/src"] {
        for entry in fs::read_dir(root().join(folder)).expect("a source folder") {
            let path = entry.expect("a readable folder").path();
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            if !["lib", "main"].contains(&stem.as_str()) && !architecture.contains(&format!("`{stem}")) {
                missing.push(format!("{folder}/{stem}"));
            }
        }
    }
    assert!(missing.is_empty(), "ARCHITECTURE.md's code map does not mention:\n{}", missing.join("\n"));
}
