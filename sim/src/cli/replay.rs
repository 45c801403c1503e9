//! `skiptrace replay`

use std::fs;

use super::args::{On, Replay};
use super::counterexample::{Told, saved_verdict};
use super::ground::Ground;
use super::{Context, Failure, exit_of, library};
use crate::exit::Exit;
use crate::explore::RunEnd;
use crate::explore::schedule_file::{self, SavedSchedule, SavedVerdict};
use crate::report::paint::Tone;

pub(super) fn replay(args: &Replay, context: &mut Context<'_>) -> Result<Exit, Failure> {
    let library = library()?;
    let text = fs::read_to_string(&args.file)
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {}: {error}", args.file.display())))?;
    let find = |name: &str| library.load(name).map_err(|error| error.to_string());
    let saved = schedule_file::parse(&args.file, &text, library.vocabulary(), &find)?;
    let ground = Ground::acquire(args.on)?;
    let told = Told::again(&ground, &saved.scenario, &saved.schedule)?;
    let title = format!("{} on {}: {}", saved.scenario.name, ground.title(), saved.scenario.title);
    let title = context.out.paint().tone(Tone::Strong, &title);
    context.out.line(&title);
    context.out.line("");
    let timeline = told.timeline(context.out.paint());
    context.out.text(&timeline);
    if let RunEnd::Misfit { step, message } = &told.result.end {
        let file = args.file.display();
        let message = format!("{file}: the schedule does not fit its scenario any more, at step {step}\n{message}");
        return Err(Failure::new(Exit::Usage, message));
    }
    let (tone, conclusion) = conclude(&saved, &told, args.on, &ground.title());
    let conclusion = context.out.paint().tone(tone, &conclusion);
    context.out.line(&conclusion);
    Ok(exit_of(&told.result.end))
}

/// Compares what was found with what the file says.
fn conclude(saved: &SavedSchedule, told: &Told, on: On, ground: &str) -> (Tone, String) {
    let found = saved_verdict(&told.result.end);
    let expected = verdict_text(&saved.verdict);
    if found.as_ref() != Some(&saved.verdict) {
        let found = found.map_or_else(|| "another end".to_owned(), |found| verdict_text(&found));
        return (Tone::Bad, format!("not reproduced on {ground}: expected {expected}; found {found}"));
    }
    match (on, saved.hash) {
        (On::Postgres, _) => (Tone::Good, format!("confirmed on {ground}: {expected}, as in the file")),
        (On::Model, None) => (Tone::Good, format!("reproduced: {expected}")),
        (On::Model, Some(hash)) if hash == told.result.hash => {
            (Tone::Good, format!("reproduced: {expected}, history {hash:016x}, both as in the file"))
        }
        (On::Model, Some(hash)) => {
            let message = format!("reproduced: {expected}; but the history has changed since it was saved");
            (Tone::Notable, format!("{message}: expected {hash:016x}, found {:016x}", told.result.hash))
        }
    }
}

fn verdict_text(verdict: &SavedVerdict) -> String {
    match verdict {
        SavedVerdict::Holds => "every invariant holds".to_owned(),
        SavedVerdict::Stuck => "the run is stuck".to_owned(),
        SavedVerdict::Violates { invariant, step } => format!("{invariant} is violated after step {step}"),
    }
}
