//! Real SQL: the conformance specs, the recorded answers and the SQL of the sources beside this crate.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The texts of all files below `folder` with this extension, in order.
pub(crate) fn texts(folder: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a readable folder").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found.iter().map(|path| fs::read_to_string(path).expect("a readable file")).collect()
}

/// What stands between braces in a spec, statement by statement; setups are among them.
fn of_spec(text: &str) -> Vec<String> {
    let blocks = text.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(block, _)| block));
    blocks.flat_map(|block| block.split(';')).map(|sql| sql.trim().to_owned()).filter(|sql| !sql.is_empty()).collect()
}

/// The string literals of a source file that begin as SQL does.
fn of_source(text: &str) -> Vec<String> {
    let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH ", "BEGIN", "COMMIT", "CREATE ", "SET "];
    let literals = text.split('"').skip(1).step_by(2).map(|text| text.replace("\\\n", " "));
    literals.filter(|text| verbs.iter().any(|verb| text.starts_with(verb))).collect()
}

/// The setups of the specs and the core's schema, and then everything, in an order that does not change.
pub(crate) fn statements() -> (Vec<String>, Vec<String>) {
    let specs = texts("tests/conformance/specs", "spec");
    let mut setups: Vec<String> = Vec::new();
    for spec in &specs {
        let head = spec.split("\nsession").next().unwrap_or("").split("teardown").next().unwrap_or("");
        setups.extend(of_spec(head));
    }
    let answers = include_str!("../answers/postgres15.txt").lines();
    let answers = answers.filter(|line| !line.starts_with(['#', '=']) && !line.is_empty()).map(str::to_owned);
    let answers: Vec<String> = answers.collect();
    setups.extend(answers.iter().filter(|sql| sql.starts_with("CREATE") || sql.starts_with("INSERT")).cloned());
    let schema: Vec<String> = texts("src/schema", "sql")
        .iter()
        .flat_map(|text| text.split(';').map(str::to_owned).collect::<Vec<_>>())
        .collect();
    setups.push("CREATE SCHEMA s".into());
    setups.extend(schema.iter().cloned());
    let mut all: Vec<String> = specs.iter().flat_map(|text| of_spec(text)).collect();
    all.extend(answers);
    all.extend(texts("src", "rs").iter().flat_map(|text| of_source(text)));
    all.extend(schema);
    for sql in setups.iter_mut().chain(&mut all) {
        *sql = sql.replace("{schema_in_literal}", "s").replace("{schema}", "s");
    }
    all.sort();
    all.dedup();
    (setups, all)
}
