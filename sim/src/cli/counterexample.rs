//! A run that is worth keeping: its schedule file, its timeline, and the line that makes it happen again.

use std::fs;
use std::path::{Path, PathBuf};

use super::ground::{AnyDatabase, Ground, protocol_of};
use super::{Context, Failure, library};
use crate::backend::BackendError;
use crate::exit::Exit;
use crate::explore::history::History;
use crate::explore::schedule::Schedule;
use crate::explore::schedule_file::{self, SavedSchedule, SavedVerdict};
use crate::explore::shrink::shrink;
use crate::explore::{RunEnd, RunResult, Runner};
use crate::report::paint::Paint;
use crate::report::timeline::Timeline;
use crate::scenario::Scenario;
use crate::strategy::{RandomWalk, Replay, Strategy};

/// A run in full.
pub(super) struct Told {
    pub(super) history: History,
    pub(super) result: RunResult,
    lanes: Vec<String>,
}

impl Told {
    /// Makes the run of a seed, on a database of its own.
    pub(super) fn of_seed(ground: &Ground, scenario: &Scenario, seed: u64) -> Result<Self, BackendError> {
        Self::of(scenario, &mut ground.runner(scenario)?, seed, &mut RandomWalk::new())
    }

    /// Makes the run of a schedule, on a database of its own.
    pub(super) fn again(ground: &Ground, scenario: &Scenario, schedule: &Schedule) -> Result<Self, BackendError> {
        let reduced = schedule.scenario(scenario);
        let database = ground.open(scenario)?;
        let mut runner = Runner::for_workload(scenario, &reduced, protocol_of(scenario), database)?;
        Self::of(scenario, &mut runner, 0, &mut Replay::new(schedule.choices.clone()))
    }

    fn of(
        scenario: &Scenario,
        runner: &mut Runner<'_, AnyDatabase<'_>>,
        seed: u64,
        strategy: &mut dyn Strategy,
    ) -> Result<Self, BackendError> {
        let mut history = History::default();
        let result = runner.run(seed, strategy, Some(&mut history));
        if let RunEnd::Failed(error) = result.end {
            return Err(error);
        }
        Ok(Self { history, result, lanes: scenario.actors.iter().map(|actor| actor.name.clone()).collect() })
    }

    /// Makes a run that violates an invariant, or is stuck, small.
    pub(super) fn shrink(
        ground: &Ground,
        scenario: &Scenario,
        found: &RunResult,
    ) -> Result<(Schedule, Self), BackendError> {
        let database = ground.open(scenario)?;
        let (small, _) = shrink(scenario, protocol_of(scenario), database, found, ground.effort())?;
        let lanes = scenario.actors.iter().map(|actor| actor.name.clone()).collect();
        Ok((small.schedule, Self { history: small.history, result: small.result, lanes }))
    }

    pub(super) fn timeline(&self, paint: Paint) -> String {
        Timeline { lanes: &self.lanes, history: &self.history, end: &self.result.end }.render(paint)
    }
}

/// How a schedule file puts the end of a run; none for ends that no schedule has.
pub(super) fn saved_verdict(end: &RunEnd) -> Option<SavedVerdict> {
    match end {
        RunEnd::Completed => Some(SavedVerdict::Holds),
        RunEnd::Violated(violation) => {
            Some(SavedVerdict::Violates { invariant: violation.invariant.to_owned(), step: violation.step })
        }
        RunEnd::Stuck(_) => Some(SavedVerdict::Stuck),
        RunEnd::Misfit { .. } | RunEnd::Nondeterministic(_) | RunEnd::Failed(_) => None,
    }
}

/// What a run on the model is, as a file keeps it. A run that was made on a server is made on the model once more: the file's hash
/// is that of the model's history, which is the same everywhere.
pub(super) fn to_save(
    ground: &Ground,
    scenario: &Scenario,
    schedule: Schedule,
    seed: Option<u64>,
    told: &Told,
) -> Option<SavedSchedule> {
    let verdict = saved_verdict(&told.result.end)?;
    let hash = match ground {
        Ground::Model => Some(told.result.hash),
        Ground::Postgres(_) => Told::again(&Ground::Model, scenario, &schedule)
            .ok()
            .filter(|model| saved_verdict(&model.result.end).as_ref() == Some(&verdict))
            .map(|model| model.result.hash),
    };
    Some(SavedSchedule { scenario: scenario.clone(), called: called(scenario), schedule, verdict, seed, hash })
}

/// What finds the scenario again, from the folder where it was found now.
fn called(scenario: &Scenario) -> String {
    let found = library().and_then(|library| library.load(&scenario.name));
    let by_name = found.is_ok_and(|found| Scenario { path: scenario.path.clone(), ..found } == *scenario);
    if by_name { scenario.name.clone() } else { scenario.path.to_string_lossy().into_owned() }
}

/// Writes the schedule to `path`, and its timeline beside it.
pub(super) fn save(saved: &SavedSchedule, told: &Told, path: &Path) -> Result<PathBuf, Failure> {
    let timeline = path.with_extension("txt");
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), fs::create_dir_all).map_err(|error| cannot_write(folder.unwrap_or(path), &error))?;
    fs::write(path, schedule_file::write(saved)).map_err(|error| cannot_write(path, &error))?;
    fs::write(&timeline, told.timeline(Paint::Plain)).map_err(|error| cannot_write(&timeline, &error))?;
    Ok(timeline)
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Environment, format!("cannot write {}: {error}", path.display()))
}

impl Context<'_> {
    /// The line that replays a schedule file.
    pub(super) fn replay_line(&self, path: &Path) -> String {
        format!("{} replay {}", quote(&self.program), quote(&path.to_string_lossy()))
    }
}

/// A word as a shell reads it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_quoted_where_a_shell_would_split_it() {
        assert_eq!(quote("target/release/skiptrace"), "target/release/skiptrace");
        assert_eq!(quote("my dir/it's.toml"), "'my dir/it'\\''s.toml'");
        assert_eq!(quote(""), "''");
    }
}
