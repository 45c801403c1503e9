//! Steps a spec's permutations on a database and writes down what happened.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use skiptrace::{Answer, DbError, Statement, Tag, Value};
use skiptrace_sim::backend::model::ModelDatabase;
use skiptrace_sim::backend::postgres::PostgresDatabase;
use skiptrace_sim::backend::testbed::TestBed;
use skiptrace_sim::backend::{Database, Layout, Outcome};
use skiptrace_sim::spec::{PermutationStep, Spec, statements};

/// One spec after the other: transaction ids and snapshots are the server's, not a database's.
static SERVER: Mutex<()> = Mutex::new(());

#[track_caller]
pub(crate) fn on_the_server(name: &str) {
    let spec = spec(name);
    let _alone = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    let bed = TestBed::shared().unwrap_or_else(|e| panic!("{e}"));
    let found = transcript(&spec, &mut PostgresDatabase::open(bed, &layout(&spec)).expect("the spec's setup"));
    if std::env::var_os("SKIPTRACE_RECORD").is_some() {
        fs::write(expected_path(name), found).expect("a folder that can be written");
    } else {
        agree(name, "the server", &found);
    }
}

#[track_caller]
pub(crate) fn on_the_model(name: &str) {
    let spec = spec(name);
    let found = match ModelDatabase::new(&layout(&spec)) {
        Ok(mut database) => transcript(&spec, &mut database),
        Err(refused) => format!("the setup failed: {refused:?}\n"),
    };
    agree(name, "the model", &found);
}

/// The model says that it does not know `construct`, in the setup or in every permutation.
#[track_caller]
pub(crate) fn refused_by_the_model(name: &str, construct: &str) {
    let spec = spec(name);
    let refusal = format!("the model does not support {construct}");
    match ModelDatabase::new(&layout(&spec)) {
        Ok(mut database) => {
            let found = transcript(&spec, &mut database);
            for permutation in found.split("permutation ").skip(1) {
                assert!(permutation.contains(&refusal), "expected {refusal:?} in permutation {permutation}");
            }
        }
        Err(error) => assert!(format!("{error:?}").contains(&refusal), "expected {refusal:?}, found {error:?}"),
    }
}

pub(crate) fn specs_in_folder() -> Vec<String> {
    let files = fs::read_dir(folder().join("specs")).expect("the folder of specs");
    let name = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let mut names: Vec<String> = files.map(|file| name(file.expect("a file").path())).collect();
    names.sort();
    names
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn expected_path(name: &str) -> PathBuf {
    folder().join("expected").join(format!("{}.out", name.replace('_', "-")))
}

fn spec(name: &str) -> Spec {
    let path = folder().join("specs").join(format!("{}.spec", name.replace('_', "-")));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    Spec::parse(&text).unwrap_or_else(|e| panic!("{}:{e}", path.display()))
}

#[track_caller]
fn agree(name: &str, who: &str, found: &str) {
    let path = expected_path(name);
    let expected = fs::read_to_string(&path).unwrap_or_else(|e| {
        panic!("{}: {e}; record it: SKIPTRACE_RECORD=1 cargo test --test conformance server::{name}", path.display())
    });
    if found == expected {
        return;
    }
    let mut permutation = "";
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        if expected.starts_with("permutation") {
            permutation = expected;
        }
        assert!(
            found == expected,
            "{}:{}: in {permutation}\nexpected {expected}\n{who}: {found}",
            path.display(),
            number + 1
        );
    }
    panic!("{}: expected {} lines, {who} gave {}", path.display(), expected.lines().count(), found.lines().count());
}

/// The spec's setup, and tables for the harness to observe, which specs do not use.
pub(crate) fn layout(spec: &Spec) -> Layout {
    let mut setup: Vec<String> = spec.setups.iter().flat_map(|sql| statements(sql)).map(str::to_owned).collect();
    setup.extend(
        [
            "CREATE SCHEMA harness",
            "CREATE TABLE harness.events (stream_id text, version bigint, position bigint)",
            "CREATE TABLE harness.applied (stream_id text, version bigint, seq bigint)",
            "CREATE TABLE harness.generations (generation bigint, state text)",
        ]
        .map(str::to_owned),
    );
    Layout {
        setup,
        streams: Vec::new(),
        events: "harness.events".to_owned(),
        applied: "harness.applied".to_owned(),
        skips: None,
        generations: "harness.generations".to_owned(),
    }
}

fn transcript(spec: &Spec, database: &mut impl Database) -> String {
    let mut text = String::new();
    for permutation in spec.interleavings() {
        let names: Vec<&str> = permutation.iter().map(|step| spec.step(step.step).name.as_str()).collect();
        writeln!(text, "permutation {}", names.join(" ")).expect("to a string");
        if let Err(failed) = run(spec, &permutation, database, &mut text) {
            writeln!(text, "{failed}").expect("to a string");
        }
        text.push('\n');
    }
    text
}

/// Errs where the database gives up, the model on SQL that it refuses: the next permutation begins afresh.
fn run(
    spec: &Spec,
    permutation: &[PermutationStep],
    database: &mut impl Database,
    text: &mut String,
) -> Result<(), String> {
    let failed = |e| format!("failed: {e:?}");
    database.reset().map_err(failed)?;
    // What each session's outstanding step is called.
    let mut outstanding: Vec<Option<&str>> = vec![None; spec.sessions.len()];
    for (number, session) in spec.sessions.iter().enumerate() {
        database.connect(number).map_err(failed)?;
        for sql in session.setup.iter().flat_map(|sql| statements(sql)) {
            match database.execute(number, &Statement::new(&session.name, sql), &[]).map_err(failed)? {
                Outcome::Answered(Ok(_)) => {}
                other => return Err(format!("the setup of {}: {other:?}", session.name)),
            }
        }
    }
    for PermutationStep { step, .. } in permutation {
        let (session, step) = (step.session, spec.step(*step));
        if let Some(waiting) = outstanding[session] {
            return Err(format!("{} cannot be sent: {waiting} still waits", step.name));
        }
        let [sql] = statements(&step.sql)[..] else { panic!("{}: a step here is one statement", step.name) };
        match database.execute(session, &Statement::new(&step.name, sql), &[]).map_err(failed)? {
            Outcome::Answered(answer) => writeln!(text, "{}: {}", step.name, show(&answer)),
            Outcome::HasSnapshot => unreachable!("a step here is a whole statement"),
            Outcome::Waits => {
                outstanding[session] = Some(&step.name);
                let mut blockers = database.blockers(session).map_err(failed)?;
                blockers.sort_unstable();
                let names: Vec<&str> = blockers.iter().map(|blocker| spec.sessions[*blocker].name.as_str()).collect();
                writeln!(text, "{}: waits for {}", step.name, names.join(", "))
            }
        }
        .expect("to a string");
        while let Some((session, answer)) = database.next_woken().map_err(failed)? {
            let name = outstanding[session].take().expect("only who waits is woken");
            writeln!(text, "  {name}: {}", show(&answer)).expect("to a string");
        }
    }
    Ok(())
}

fn show(answer: &Result<Answer, DbError>) -> String {
    match answer {
        Ok(Answer { tag: Tag::Begin, .. }) => "BEGIN".to_owned(),
        Ok(Answer { tag: Tag::Commit, .. }) => "COMMIT".to_owned(),
        Ok(Answer { tag: Tag::Rollback, .. }) => "ROLLBACK".to_owned(),
        Ok(Answer { affected, rows, .. }) => {
            let rows = rows.iter().map(|row| format!("({})", show_all(row.values())));
            [affected.to_string()].into_iter().chain(rows).collect::<Vec<_>>().join(" ")
        }
        Err(error) => format!("ERROR {}", error.sqlstate()),
    }
}

pub(crate) fn show_all(values: &[Value]) -> String {
    values.iter().map(show_value).collect::<Vec<_>>().join(", ")
}

fn show_value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Text(text) => text.to_string(),
        Value::Json(json) => json.to_string(),
        Value::Timestamp(micros) => micros.to_string(),
        Value::Array(values) => format!("{{{}}}", show_all(values)),
    }
}
