//! PostgreSQL's own isolation tests on the model: each permutation is answered byte for byte as PostgreSQL answers it, or refused.
//!
//! They are fetched by `get-suite`, not committed. Where they cannot be had, this fails in CI, and says elsewhere that it was not run.
//! What came out stands as a table in the model's README; `UPDATE_EXPECT=1` writes it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use skiptrace_sim::backend::messages::ModelMessages;
use skiptrace_sim::spec::Spec;
use skiptrace_sim::spec::compare::{Likeness, compare};
use skiptrace_sim::spec::run::{End, heading, permutation};

const BEGIN: &str = "<!-- The table is written by tests/conformance/postgres_suite.rs. -->\n";
const END: &str = "<!-- Here it ends. -->\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The folder with the suite's `specs` and `expected`; or why it cannot be had.
fn suite() -> Result<PathBuf, String> {
    let script = root().join("tests/conformance/get-suite");
    let ran = Command::new(&script).output().map_err(|error| format!("{}: {error}", script.display()))?;
    if ran.status.success() {
        return Ok(root().join(String::from_utf8_lossy(&ran.stdout).trim()));
    }
    let complaint = String::from_utf8_lossy(&ran.stderr);
    let last: Vec<&str> = complaint.lines().rev().take(5).collect();
    Err(last.into_iter().rev().collect::<Vec<_>>().join("\n"))
}

/// What became of a spec's permutations.
#[derive(Default)]
struct Tally {
    same: usize,
    refused: usize,
    different: usize,
    /// What was refused, and in how many.
    constructs: BTreeMap<String, usize>,
    diff: String,
}

fn run(folder: &Path, name: &str) -> Tally {
    let path = folder.join(format!("specs/{name}.spec"));
    let text = fs::read_to_string(&path).expect("a spec");
    let spec = Spec::parse(&text).unwrap_or_else(|error| panic!("{}:{error}", path.display()));
    let mut database = ModelMessages::new(spec.sessions.len() + 1);
    let runs: Vec<_> = spec
        .interleavings()
        .map(|steps| permutation(&spec, &steps, &mut database).expect("the model is always there"))
        .collect();
    let alternatives = ["", "_1", "_2", "_3"].map(|number| format!("{name}{number}.out"));
    let expected: Vec<(String, String)> = alternatives
        .into_iter()
        .filter_map(|file| fs::read_to_string(folder.join("expected").join(&file)).ok().map(|text| (file, text)))
        .collect();
    let comparison = compare(&heading(&spec), &runs, &expected);
    let mut tally = Tally { diff: comparison.diff, ..Tally::default() };
    for (run, likeness) in runs.iter().zip(comparison.permutations) {
        match likeness {
            Likeness::Same => tally.same += 1,
            Likeness::Refused => tally.refused += 1,
            Likeness::Different => tally.different += 1,
        }
        if let End::Refused(construct) = &run.end {
            let name = construct.strip_prefix("the model does not support ").unwrap_or(construct);
            *tally.constructs.entry(name.to_owned()).or_default() += 1;
        }
    }
    tally
}

/// A row a spec, as Markdown.
fn table(version: &str, tallies: &BTreeMap<String, Tally>) -> String {
    let sum = |count: fn(&Tally) -> usize| tallies.values().map(count).sum::<usize>();
    let (same, refused, different) = (sum(|t| t.same), sum(|t| t.refused), sum(|t| t.different));
    let mut text = format!(
        "PostgreSQL {version}: {} specs, {} permutations: {same} the same, {refused} refused, {different} different.\n\n\
         | spec | same | refused | different | refused by |\n|---|---:|---:|---:|---|\n",
        tallies.len(),
        same + refused + different
    );
    for (name, Tally { same, refused, different, constructs, .. }) in tallies {
        let mut by: Vec<(&String, &usize)> = constructs.iter().collect();
        by.sort_by_key(|(construct, count)| (std::cmp::Reverse(**count), *construct));
        let mut names: Vec<String> = by.iter().take(3).map(|(construct, _)| construct.replace('|', "\\|")).collect();
        if by.len() > names.len() {
            names.push("..".to_owned());
        }
        let names = names.join("; ");
        writeln!(text, "| {name} | {same} | {refused} | {different} | {names} |").expect("to a string");
    }
    text
}

#[test]
fn postgres_own_suite_on_the_model() {
    let folder = match suite() {
        Ok(folder) => folder,
        Err(reason) if std::env::var_os("CI").is_some() => panic!("PostgreSQL's suite cannot be had:\n{reason}"),
        Err(reason) => {
            println!("not run: PostgreSQL's suite cannot be had:\n{reason}");
            return;
        }
    };
    let files = fs::read_dir(folder.join("specs")).expect("the suite's specs");
    let name = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let mut tallies = BTreeMap::new();
    for file in files {
        let name = name(file.expect("a file").path());
        let tally = run(&folder, &name);
        tallies.insert(name, tally);
    }
    let version = folder.file_name().expect("a version").to_string_lossy().into_owned();
    let table = table(&version, &tallies);
    println!("{table}");
    let diffs: Vec<&str> = tallies.values().map(|tally| tally.diff.as_str()).filter(|diff| !diff.is_empty()).collect();
    assert!(diffs.is_empty(), "the model answers otherwise than PostgreSQL does:\n{}", diffs.join("\n"));
    in_the_readme(&version, &table);
}

/// The table of the model's README is this one, if it is of this version.
#[track_caller]
fn in_the_readme(version: &str, table: &str) {
    let path = root().join("sim/model/README.md");
    let text = fs::read_to_string(&path).expect("the model's README");
    let (before, rest) = text.split_once(BEGIN).expect("the place where the table begins");
    let (found, after) = rest.split_once(END).expect("the place where the table ends");
    if found == table {
        return;
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, [before, BEGIN, table, END, after].concat()).expect("a README that can be written");
        return;
    }
    if !found.contains(version) {
        println!("the table in {} is of another version of PostgreSQL", path.display());
        return;
    }
    let changed = |line: &&str| !found.contains(*line);
    let changed: Vec<&str> = table.lines().filter(changed).collect();
    panic!("the table in {} is another; UPDATE_EXPECT=1 writes it:\n{}", path.display(), changed.join("\n"));
}
