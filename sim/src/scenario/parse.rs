//! Scenario files.
//!
//! ```toml
//! title = "An append that skipped commits after the rebuild's last look"
//! protocol = "naive"
//! expected = "violates no_loss"     # or "holds"
//! milestones = ["append_straddled_cutover"]
//! steps_max = 200                   # left out: 1000
//! granularity = "snapshot"          # left out: "statement"; what one step is
//!
//! [faults]                          # at most so many a run; left out: none
//! crashes = 1
//! lost_answers = 1
//!
//! [[actor]]
//! name = "a1"
//! role = "appender"
//! appends = ["orders-1", { stream = "orders-2", events = 3 }]   # a bare string is a stream that gets one event
//!
//! [[actor]]
//! name = "r"
//! role = "rebuilder"
//! rebuilds = 1                      # left out: 1
//! batch = 2
//!
//! [[actor]]
//! name = "d"
//! role = "drainer"
//! passes = 2                        # left out: 1
//! ```
//!
//! Whatever is not known is refused: a misspelt key that were ignored would verify something else than its author meant.

use std::fmt::Write;
use std::path::Path;

use super::diagnostic::FileError;
use super::reader::{Document, Item, Table};
use super::{ActorSpec, AppendSpec, Expected, FaultBudget, Granularity, Role, Scenario};

/// The names that a file may use.
#[derive(Clone, Debug, Default)]
pub struct Vocabulary {
    /// Protocols.
    pub protocols: Vec<&'static str>,
    /// Invariants.
    pub invariants: Vec<&'static str>,
    /// Milestones.
    pub milestones: Vec<&'static str>,
}

/// A choice numbers actors with a byte, a timeline gives each a lane.
pub const ACTORS_MAX: usize = 32;
/// The longest name of an actor or a stream.
const NAME_MAX: usize = 24;
const APPENDS_MAX: usize = 64;
const EVENTS_MAX: u32 = 64;
/// A run keeps which were reached in the bits of a `u64`.
const MILESTONES_MAX: usize = 64;
const STEPS_DEFAULT: u32 = 1000;
const STEPS_MAX: u32 = 100_000;

/// Reads a scenario; `path` names it and stands in errors.
pub fn scenario(path: &Path, text: &str, names: &Vocabulary) -> Result<Scenario, FileError> {
    let document = Document { path, text };
    let tree = document.tree()?;
    let keys = ["title", "protocol", "expected", "milestones", "steps_max", "granularity", "faults", "actor"];
    let root = document.root(&tree, "the scenario", &keys)?;
    let title = root.required("title", "a line that says what it shows")?;
    let protocol = root.required("protocol", "the name of a protocol")?.one_of("protocol", &names.protocols)?;
    Ok(Scenario {
        name: name_of(path),
        path: path.to_owned(),
        title: one_line(&title)?.to_owned(),
        protocol: protocol.to_owned(),
        expected: expected(&root.required("expected", EXPECTED)?, names)?,
        actors: actors(&root.required("actor", "a table [[actor]] for each actor")?)?,
        milestones: milestones(&root, names)?,
        faults: root.optional("faults").map_or(Ok(FaultBudget::default()), |item| faults(&item))?,
        granularity: root.optional("granularity").map_or(Ok(Granularity::default()), |item| granularity(&item))?,
        steps_max: root.optional("steps_max").map_or(Ok(STEPS_DEFAULT), |item| item.count(1..=STEPS_MAX))?,
    })
}

/// The file's name without folder and extension.
pub(crate) fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn one_line<'t>(item: &Item<'t, '_>) -> Result<&'t str, FileError> {
    let text = item.string("a line of text")?;
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return Err(
            item.error("the title is no line of text\nexpected one line, not empty, without control characters")
        );
    }
    Ok(text.trim())
}

const EXPECTED: &str = "\"holds\" or \"violates INVARIANT\"";

fn expected(item: &Item<'_, '_>, names: &Vocabulary) -> Result<Expected, FileError> {
    let text = item.string(EXPECTED)?;
    match text.split_ascii_whitespace().collect::<Vec<_>>()[..] {
        ["holds"] => Ok(Expected::Holds),
        ["violates", invariant] if names.invariants.contains(&invariant) => {
            Ok(Expected::Violates { invariant: invariant.to_owned() })
        }
        ["violates", invariant] => {
            Err(item.error(super::diagnostic::unknown_name("invariant", invariant, &names.invariants)))
        }
        _ => Err(item.error(format!("{text:?} is no verdict\nexpected {EXPECTED}"))),
    }
}

fn granularity(item: &Item<'_, '_>) -> Result<Granularity, FileError> {
    Ok(match item.one_of("granularity", &Granularity::NAMES)? {
        "snapshot" => Granularity::Snapshot,
        _ => Granularity::Statement,
    })
}

fn milestones(root: &Table<'_, '_>, names: &Vocabulary) -> Result<Vec<String>, FileError> {
    let Some(item) = root.optional("milestones") else { return Ok(Vec::new()) };
    let mut found: Vec<String> = Vec::new();
    for item in item.array(0..=MILESTONES_MAX, "names of milestones")? {
        let name = item.one_of("milestone", &names.milestones)?;
        if found.iter().any(|found| found == name) {
            return Err(item.error(format!("the milestone {name:?} is named twice\nexpected each once")));
        }
        found.push(name.to_owned());
    }
    Ok(found)
}

fn faults(item: &Item<'_, '_>) -> Result<FaultBudget, FileError> {
    let table = item.table("[faults]", &["crashes", "lost_answers"])?;
    let count = |key| table.optional(key).map_or(Ok(0), |item| item.count(0..=16));
    Ok(FaultBudget { crashes: count("crashes")?, lost_answers: count("lost_answers")? })
}

/// Reads `[[actor]]`, for scenarios and for schedule files.
pub(crate) fn actors(item: &Item<'_, '_>) -> Result<Vec<ActorSpec>, FileError> {
    let mut actors: Vec<ActorSpec> = Vec::new();
    for item in item.array(1..=ACTORS_MAX, "actors")? {
        let name = item.peek("name", "an actor", "its lane's name")?;
        let actor = actor(&item)?;
        if actors.iter().any(|other| other.name == actor.name) {
            let message = format!("two actors are named {:?}\nexpected a name of its own for each", actor.name);
            return Err(name.error(message));
        }
        actors.push(actor);
    }
    Ok(actors)
}

const ROLES: [&str; 3] = ["appender", "rebuilder", "drainer"];

fn actor(item: &Item<'_, '_>) -> Result<ActorSpec, FileError> {
    let role = item.peek("role", "an actor", "appender, rebuilder or drainer")?.one_of("role", &ROLES)?;
    let name = item.peek("name", "an actor", "its lane's name")?.name("an actor's name", NAME_MAX)?;
    let role = match role {
        "appender" => {
            let table = item.table("an appender", &["name", "role", "appends"])?;
            let appends = table.required("appends", "an array of streams, or of { stream, events }")?;
            let appends = appends.array(1..=APPENDS_MAX, "appends")?;
            Role::Appender { appends: appends.iter().map(append).collect::<Result<_, _>>()? }
        }
        "rebuilder" => {
            let table = item.table("a rebuilder", &["name", "role", "rebuilds", "batch"])?;
            Role::Rebuilder {
                rebuilds: table.optional("rebuilds").map_or(Ok(1), |item| item.count(1..=16))?,
                batch: table.required("batch", "how many events a batch has")?.count(1..=10_000)?,
            }
        }
        _ => {
            let table = item.table("a drainer", &["name", "role", "passes"])?;
            Role::Drainer { passes: table.optional("passes").map_or(Ok(1), |item| item.count(0..=64))? }
        }
    };
    Ok(ActorSpec { name: name.to_owned(), role })
}

fn append(item: &Item<'_, '_>) -> Result<AppendSpec, FileError> {
    if item.is_string() {
        return Ok(AppendSpec { stream: item.name("a stream's id", NAME_MAX)?.to_owned(), events: 1 });
    }
    let table = item.table("an append", &["stream", "events"])?;
    let stream = table.required("stream", "a stream's id")?.name("a stream's id", NAME_MAX)?;
    let events = table.optional("events").map_or(Ok(1), |item| item.count(1..=EVENTS_MAX))?;
    Ok(AppendSpec { stream: stream.to_owned(), events })
}

/// Actors as [`actors`] reads them.
pub(crate) fn write_actors(actors: &[ActorSpec], into: &mut String) {
    for ActorSpec { name, role } in actors {
        let _ = write!(into, "\n[[actor]]\nname = \"{name}\"\n");
        let _ = match role {
            Role::Appender { appends } => {
                let appends: Vec<String> = appends.iter().map(append_text).collect();
                writeln!(into, "role = \"appender\"\nappends = [{}]", appends.join(", "))
            }
            Role::Rebuilder { rebuilds, batch } => {
                writeln!(into, "role = \"rebuilder\"\nrebuilds = {rebuilds}\nbatch = {batch}")
            }
            Role::Drainer { passes } => writeln!(into, "role = \"drainer\"\npasses = {passes}"),
        };
    }
}

fn append_text(append: &AppendSpec) -> String {
    match append {
        AppendSpec { stream, events: 1 } => format!("\"{stream}\""),
        AppendSpec { stream, events } => format!("{{ stream = \"{stream}\", events = {events} }}"),
    }
}

#[cfg(test)]
mod tests;
