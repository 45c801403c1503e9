//! Schedule files: one run, kept as text, to be made again.
//!
//! ```toml
//! # end-race-naive violates no_loss after step 17.
//! # Make this run again: skiptrace replay FILE
//! format = 1
//! scenario = "end-race-naive"
//! protocol = "naive"
//! verdict = "violates no_loss"     # or "holds", "stuck"
//! step = 17                        # of a violation
//! seed = 4711                      # where it was found, if it came from a seed
//! hash = "89abcdef01234567"        # of the history that it makes on the model, where it was seen
//!
//! [[actor]]                        # only where the workload is not the scenario's: who is left out does nothing
//! name = "a1"
//! role = "appender"
//! appends = ["orders-1"]
//!
//! [schedule]                       # last, so that a truncated file is never taken for a whole one
//! choices = """
//! a1 a1 r a1!lose_answer a2!crash a2
//! """
//! ```
//!
//! A choice names its actor, not the actor's number: so a file stays readable, and fits as long as the actors do. Without
//! `[[actor]]` the workload is the scenario's, which may have changed; a replay then says at which step it no longer fits.

use std::fmt::Write;
use std::mem::discriminant;
use std::path::Path;

use super::schedule::{Act, Choice, Schedule};
use crate::scenario::diagnostic::{FileError, unknown_name};
use crate::scenario::parse::{ACTORS_MAX, Vocabulary, actors, write_actors};
use crate::scenario::reader::{Document, Item, Table};
use crate::scenario::{ActorSpec, Role, Scenario};

/// The version of the format that is written, and the only one that is read.
pub const FORMAT: u64 = 1;

/// A schedule's text is this wide, so that a diff of two is readable.
const WIDTH: usize = 100;

/// What a schedule file says.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedSchedule {
    /// The scenario, with the workload of its own file.
    pub scenario: Scenario,
    /// What finds it: its name, or the path of its file where a name finds none.
    pub called: String,
    /// The choices, and the workload that they need.
    pub schedule: Schedule,
    /// What the run came to when it was saved.
    pub verdict: SavedVerdict,
    /// The seed that it was found with, before it was shrunk.
    pub seed: Option<u64>,
    /// The hash of its history on the model; none where it was found on a server and the model does not do the same.
    pub hash: Option<u64>,
}

/// See [`SavedSchedule::verdict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SavedVerdict {
    /// Every invariant held.
    Holds,
    /// The run made no progress.
    Stuck,
    /// An invariant was violated.
    Violates {
        /// Its name.
        invariant: String,
        /// After which step, from 0.
        step: u32,
    },
}

const KEYS: [&str; 9] = ["format", "scenario", "protocol", "verdict", "step", "seed", "hash", "actor", "schedule"];

/// Reads a schedule file. `find` gives the scenario of a name, or says why it cannot.
pub fn parse(
    path: &Path,
    text: &str,
    names: &Vocabulary,
    find: &dyn Fn(&str) -> Result<Scenario, String>,
) -> Result<SavedSchedule, FileError> {
    let document = Document { path, text };
    let tree = document.tree()?;
    let root = document.root(&tree, "the schedule", &KEYS)?;
    format_version(&root.required("format", "the format's version, 1")?)?;
    let name = root.required("scenario", "the name of a scenario")?;
    let called = name.string("the name of a scenario")?.to_owned();
    let scenario = find(&called).map_err(|message| name.error(message))?;
    protocol(&root.required("protocol", "the name of a protocol")?, &scenario, names)?;
    let verdict = verdict(&root, names)?;
    let seed = root.optional("seed").map(|item| item.integer(0..=SEED_MAX)).transpose()?;
    let hash = root.optional("hash").map(|item| hash(&item)).transpose()?;
    let workload = root.optional("actor").map(|item| workload(&item, &scenario.actors)).transpose()?;
    let table = root.required("schedule", "a table [schedule]")?.table("[schedule]", &["choices"])?;
    let choices = choices(&table.required("choices", "a string of choices")?, &scenario.actors)?;
    Ok(SavedSchedule { scenario, called, schedule: Schedule { choices, workload }, verdict, seed, hash })
}

/// TOML's integers end here.
pub const SEED_MAX: u64 = i64::MAX as u64;

fn format_version(item: &Item<'_, '_>) -> Result<(), FileError> {
    match item.integer(0..=SEED_MAX)? {
        FORMAT => Ok(()),
        found => Err(item.error(format!("this format is not known here\nexpected version {FORMAT}, found {found}"))),
    }
}

fn protocol(item: &Item<'_, '_>, scenario: &Scenario, names: &Vocabulary) -> Result<(), FileError> {
    let found = item.one_of("protocol", &names.protocols)?;
    if found == scenario.protocol {
        return Ok(());
    }
    let (name, protocol) = (&scenario.name, &scenario.protocol);
    let message = format!("the schedule does not fit its scenario any more: {name} runs another protocol");
    Err(item.error(format!("{message}\nexpected {protocol:?}, found {found:?}")))
}

const VERDICT: &str = "\"holds\", \"stuck\" or \"violates INVARIANT\"";

fn verdict(root: &Table<'_, '_>, names: &Vocabulary) -> Result<SavedVerdict, FileError> {
    let item = root.required("verdict", VERDICT)?;
    let step = root.optional("step").map(|item| item.count(0..=u32::MAX)).transpose()?;
    let text = item.string(VERDICT)?;
    match (text.split_ascii_whitespace().collect::<Vec<_>>().as_slice(), step) {
        (["holds"], None) => Ok(SavedVerdict::Holds),
        (["stuck"], None) => Ok(SavedVerdict::Stuck),
        (["violates", invariant], Some(step)) if names.invariants.contains(invariant) => {
            Ok(SavedVerdict::Violates { invariant: (*invariant).to_owned(), step })
        }
        (["violates", invariant], _) if !names.invariants.contains(invariant) => {
            Err(item.error(unknown_name("invariant", invariant, &names.invariants)))
        }
        (["violates", _], None) => Err(item.error("a violation has a step\nexpected `step`: after which step")),
        (["holds" | "stuck"], Some(_)) => Err(item.error("only a violation has a step\nexpected no `step`")),
        _ => Err(item.error(format!("{text:?} is no verdict\nexpected {VERDICT}"))),
    }
}

const HASH: &str = "the history's hash, 16 hexadecimal digits in a string";

fn hash(item: &Item<'_, '_>) -> Result<u64, FileError> {
    let text = item.string(HASH)?;
    let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits
        .then(|| u64::from_str_radix(text, 16).expect("16 hexadecimal digits"))
        .ok_or_else(|| item.error(format!("{text:?} is no hash\nexpected {HASH}")))
}

/// The scenario's actors, in its order, with what the file says that they do.
fn workload(item: &Item<'_, '_>, scenario: &[ActorSpec]) -> Result<Vec<ActorSpec>, FileError> {
    let mut workload: Vec<ActorSpec> = scenario.iter().map(idle).collect();
    for (actor, item) in actors(item)?.into_iter().zip(item.array(1..=ACTORS_MAX, "actors")?) {
        let Some(slot) = workload.iter_mut().find(|slot| slot.name == actor.name) else {
            let names: Vec<&str> = scenario.iter().map(|actor| actor.name.as_str()).collect();
            let misfit = "the schedule does not fit its scenario any more";
            return Err(item.error(format!("{misfit}: {}", unknown_name("actor", &actor.name, &names))));
        };
        if discriminant(&slot.role) != discriminant(&actor.role) {
            let message = "the schedule does not fit its scenario any more: this actor has another role there";
            return Err(item.error(message));
        }
        *slot = actor;
    }
    Ok(workload)
}

/// The actor, doing nothing.
fn idle(actor: &ActorSpec) -> ActorSpec {
    let role = match &actor.role {
        Role::Appender { .. } => Role::Appender { appends: Vec::new() },
        Role::Rebuilder { batch, .. } => Role::Rebuilder { rebuilds: 0, batch: *batch },
        Role::Drainer { .. } => Role::Drainer { passes: 0 },
    };
    ActorSpec { name: actor.name.clone(), role }
}

fn choices(item: &Item<'_, '_>, actors: &[ActorSpec]) -> Result<Vec<Choice>, FileError> {
    let mut choices = Vec::new();
    for (span, word) in item.words()? {
        let step = choices.len();
        let (name, act) = word.split_once('!').map_or((word, None), |(name, act)| (name, Some(act)));
        let Some(actor) = actors.iter().position(|actor| actor.name == name) else {
            let names: Vec<&str> = actors.iter().map(|actor| actor.name.as_str()).collect();
            let message = unknown_name("actor", name, &names);
            return Err(item.error_at(&span, format!("step {step}: {message}")));
        };
        let act = match act {
            None => Act::Step,
            Some("lose_answer") => Act::LoseAnswer,
            Some("crash") => Act::Crash,
            Some(act) => {
                let message = unknown_name("act", act, &["crash", "lose_answer"]);
                return Err(item.error_at(&span, format!("step {step}: {message}")));
            }
        };
        choices.push(Choice { actor: u8::try_from(actor).expect("at most 32 actors"), act });
    }
    // A file cut off behind the second of the opening quotes has the empty string here.
    if choices.is_empty() {
        return Err(item.error("the schedule has no choices\nexpected at least one, as in `a1`"));
    }
    Ok(choices)
}

/// A choice as a schedule file has it: `a1`, `a1!crash`.
pub fn choice_text(choice: Choice, actors: &[ActorSpec]) -> String {
    let name = &actors[usize::from(choice.actor)].name;
    match choice.act {
        Act::Step => name.clone(),
        Act::LoseAnswer => format!("{name}!lose_answer"),
        Act::Crash => format!("{name}!crash"),
    }
}

/// The file's text, as [`parse`] reads it.
pub fn write(saved: &SavedSchedule) -> String {
    let SavedSchedule { scenario, called, schedule, verdict, seed, hash } = saved;
    let (verdict, step) = match verdict {
        SavedVerdict::Holds => ("holds".to_owned(), None),
        SavedVerdict::Stuck => ("stuck".to_owned(), None),
        SavedVerdict::Violates { invariant, step } => (format!("violates {invariant}"), Some(*step)),
    };
    let mut text = String::new();
    let after = step.map_or(String::new(), |step| format!(" after step {step}"));
    let _ = writeln!(text, "# {}: {verdict}{after}.", scenario.name);
    let _ = writeln!(text, "# Make this run again: skiptrace replay FILE [--on postgres]");
    let called = called.replace('\\', "\\\\").replace('"', "\\\"");
    let _ = writeln!(text, "format = {FORMAT}\nscenario = \"{called}\"\nprotocol = \"{}\"", scenario.protocol);
    let _ = writeln!(text, "verdict = \"{verdict}\"");
    if let Some(step) = step {
        let _ = writeln!(text, "step = {step}");
    }
    if let Some(seed) = seed {
        let _ = writeln!(text, "seed = {seed}");
    }
    if let Some(hash) = hash {
        let _ = writeln!(text, "hash = \"{hash:016x}\"");
    }
    if let Some(workload) = &schedule.workload {
        let busy: Vec<ActorSpec> = workload.iter().filter(|actor| **actor != idle(actor)).cloned().collect();
        write_actors(&busy, &mut text);
    }
    text.push_str("\n[schedule]\nchoices = \"\"\"\n");
    write_choices(&schedule.choices, &scenario.actors, &mut text);
    text.push_str("\n\"\"\"\n");
    text
}

fn write_choices(choices: &[Choice], actors: &[ActorSpec], into: &mut String) {
    let mut width = 0;
    for word in choices.iter().map(|choice| choice_text(*choice, actors)) {
        let separator = match width {
            0 => "",
            _ if width + 1 + word.len() > WIDTH => "\n",
            _ => " ",
        };
        width = if separator == " " { width + 1 + word.len() } else { word.len() };
        into.push_str(separator);
        into.push_str(&word);
    }
}

#[cfg(test)]
mod tests;
