//! `skiptrace run`

use super::args::{On, Run};
use super::counterexample::{Told, save, to_save};
use super::ground::Ground;
use super::{Context, Failure, exit_of, library};
use crate::exit::Exit;
use crate::explore::schedule::Schedule;
use crate::report::paint::Tone;

pub(super) fn run(args: &Run, context: &mut Context<'_>) -> Result<Exit, Failure> {
    let scenario = library()?.load(&args.scenario)?;
    let ground = Ground::acquire(args.on)?;
    let told = Told::of_seed(&ground, &scenario, args.seed)?;
    let title = format!("{}, seed {}, on {}: {}", scenario.name, args.seed, ground.title(), scenario.title);
    let title = context.out.paint().tone(Tone::Strong, &title);
    context.out.line(&title);
    context.out.line("");
    let timeline = told.timeline(context.out.paint());
    context.out.text(&timeline);
    if args.on == On::Model {
        context.out.line(&format!("history {:016x}", told.result.hash));
    }
    if let Some(path) = &args.save {
        let schedule = Schedule { choices: told.result.schedule.clone(), workload: None };
        match to_save(&ground, &scenario, schedule, Some(args.seed), &told) {
            Some(saved) => {
                save(&saved, &told, path)?;
                let line = context.replay_line(path);
                context.out.line(&format!("replay  {line}"));
            }
            None => context.err.line("not saved: this run has no end that a replay could reach"),
        }
    }
    Ok(exit_of(&told.result.end))
}
