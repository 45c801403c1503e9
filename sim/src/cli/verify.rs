//! `skiptrace verify`

use std::iter;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::args::{Format, On, Verify};
use super::counterexample::{Told, save, to_save};
use super::ground::Ground;
use super::progress::{Progress, Stopwatch};
use super::{Context, Failure, exit_of, library};
use crate::exit::Exit;
use crate::explore::RunEnd;
use crate::explore::pool::{self, Finding, Found, Tally};
use crate::explore::schedule_file::SEED_MAX;
use crate::explore::verdict::{Verdict, reported};
use crate::report::paint::Tone;
use crate::report::summary::{Summary, table};
use crate::report::text::{thousands, wrap};
use crate::scenario::Scenario;
use crate::strategy::RandomWalk;

const SEEDS_ON_MODEL: u64 = 10_000;
/// Some seconds a scenario, and enough for each milestone and violation of this repository's scenarios to be met.
const SEEDS_ON_POSTGRES: u64 = 500;

/// What exploring one scenario came to.
struct Explored {
    scenario: Scenario,
    tally: Tally,
    verdict: Verdict,
    seconds: f64,
    /// The seed of the run that is told of, and where it was saved.
    seed: Option<u64>,
    saved: Option<Saved>,
}

struct Saved {
    schedule: PathBuf,
    timeline: PathBuf,
    /// Choices before and after shrinking.
    steps: (usize, usize),
}

impl Explored {
    fn summary<'a>(&'a self, args: &Verify) -> Summary<'a> {
        Summary {
            scenario: &self.scenario,
            tally: &self.tally,
            verdict: &self.verdict,
            on: args.on.name(),
            strategy: args.strategy.name(),
            seconds: self.seconds,
            seed: self.seed,
            schedule_file: self.saved.as_ref().and_then(|saved| saved.schedule.to_str()),
        }
    }

    fn is_environment(&self) -> bool {
        matches!(&self.verdict, Verdict::Error(end) if exit_of(end) == Exit::Environment)
    }
}

pub(super) fn verify(args: &Verify, context: &mut Context<'_>) -> Result<Exit, Failure> {
    let scenarios = chosen(args)?;
    let ground = Ground::acquire(args.on)?;
    let mut all = Vec::new();
    for scenario in scenarios {
        let explored = explore(args, &ground, scenario, context)?;
        if args.format == Format::Json {
            context.out.line(&explored.summary(args).json());
            context.out.flush();
        }
        let dead = explored.is_environment();
        all.push(explored);
        if dead || context.out.is_closed() {
            break;
        }
    }
    if args.format == Format::Text {
        let summaries: Vec<_> = all.iter().map(|explored| explored.summary(args)).collect();
        let table = table(&summaries, context.out.paint());
        context.out.line(&table);
        for explored in &all {
            tell(explored, args, context);
        }
        conclude(&all, context);
    }
    for explored in &all {
        // JSON has no room for it.
        if let (Format::Json, Verdict::Error(end)) = (args.format, &explored.verdict) {
            context.err.line(&format!("{}: {}", explored.scenario.name, error_text(end, &explored.tally)));
        }
    }
    Ok(worst(&all))
}

/// The scenarios that were asked for, each once; each is read before the first is run.
fn chosen(args: &Verify) -> Result<Vec<Scenario>, Failure> {
    let library = library()?;
    if args.scenario.is_empty() {
        return Ok(library.all()?);
    }
    let mut scenarios: Vec<Scenario> = Vec::new();
    for argument in &args.scenario {
        let scenario = library.load(argument)?;
        if !scenarios.contains(&scenario) {
            scenarios.push(scenario);
        }
    }
    Ok(scenarios)
}

fn explore(args: &Verify, ground: &Ground, scenario: Scenario, context: &Context<'_>) -> Result<Explored, Failure> {
    let default = match args.on {
        _ if args.seconds.is_some() => None,
        On::Model => Some(SEEDS_ON_MODEL),
        On::Postgres => Some(SEEDS_ON_POSTGRES),
    };
    let seeds = args.seeds.or(default);
    let jobs = ground.workers(args.jobs, seeds);
    let workers = AtomicUsize::new(0);
    let stopwatch = Stopwatch::start();
    let progress = Progress::new(&scenario.name, seeds, stopwatch, context.err.is_terminal());
    let go_on = |runs| {
        progress.add(runs);
        args.seconds.is_none_or(|limit| stopwatch.elapsed() < limit)
    };
    let begin = || {
        let Some(mut runner) = ground.worker(workers.fetch_add(1, Ordering::Relaxed), &scenario)? else {
            return Ok(None);
        };
        let mut strategy = RandomWalk::new();
        Ok(Some(move |seed| match args.on {
            On::Model => runner.run_checked(seed, &mut strategy),
            // Its answers tell transaction ids, which go on from run to run: no two histories are equal.
            On::Postgres => runner.run(seed, &mut strategy, None),
        }))
    };
    let tally = pool::explore(0..seeds.unwrap_or(SEED_MAX), jobs, &go_on, &begin);
    progress.finish();
    let seconds = stopwatch.elapsed().as_secs_f64();
    let verdict = Verdict::of(&scenario, &tally);
    let told = if matches!(verdict, Verdict::Error(_)) { None } else { reported(&scenario, &tally) };
    let seed = told.map(|(_, found)| found.seed);
    let saved = told.map(|(finding, found)| keep(args, ground, &scenario, finding, found)).transpose()?.flatten();
    Ok(Explored { scenario, tally, verdict, seconds, seed, saved })
}

/// Makes a found run small and saves it.
fn keep(
    args: &Verify,
    ground: &Ground,
    scenario: &Scenario,
    finding: Finding,
    found: &Found,
) -> Result<Option<Saved>, Failure> {
    let (schedule, told) = Told::shrink(ground, scenario, &found.result)?;
    let steps = (found.result.schedule.len(), schedule.choices.len());
    let same = match (&found.result.end, &told.result.end) {
        (RunEnd::Violated(found), RunEnd::Violated(told)) => found.invariant == told.invariant,
        (RunEnd::Stuck(found), RunEnd::Stuck(told)) => found.kind == told.kind,
        _ => false,
    };
    let saved = to_save(ground, scenario, schedule, Some(found.seed), &told).filter(|_| same);
    let Some(saved) = saved else { return Ok(None) };
    let finding = match finding {
        Finding::Violated(invariant) => invariant,
        Finding::Stuck => "stuck",
    };
    let path = args.save.join(format!("{}.{finding}.toml", scenario.name));
    let timeline = save(&saved, &told, &path)?;
    Ok(Some(Saved { schedule: path, timeline, steps }))
}

/// What a reader of the table wants to know next: how to see the violation, or what is wrong.
fn tell(explored: &Explored, args: &Verify, context: &mut Context<'_>) {
    let Explored { scenario, tally, verdict, seed, saved, .. } = explored;
    let expected = verdict.is_expected(scenario);
    let what = match verdict {
        Verdict::Holds if expected => return,
        Verdict::Holds => "holds, but its file expects a violation: more seeds may find it".to_owned(),
        Verdict::Violated(invariant) => format!("violates {invariant}"),
        Verdict::Vacuous(missed) if missed.is_empty() => "vacuous: not one schedule was run".to_owned(),
        Verdict::Vacuous(missed) => format!("vacuous: no schedule reached {}", missed.join(", ")),
        Verdict::Stuck => "some runs make no progress".to_owned(),
        Verdict::Error(end) => error_text(end, tally),
    };
    let tone = if expected { Tone::Strong } else { Tone::Bad };
    let name = context.out.paint().tone(tone, &scenario.name);
    let surprise = if expected { "" } else { " (unexpected)" };
    context.out.line(&format!("\n{name} {what}{surprise}"));
    if let Some((_, found)) = reported(scenario, tally).filter(|_| seed.is_some()) {
        let (count, runs) = (thousands(found.count), thousands(tally.runs));
        context.out.line(&format!("  found     in {count} of {runs} schedules, first with seed {}", found.seed));
        let message = match &found.result.end {
            RunEnd::Violated(violation) => violation.message.as_str(),
            RunEnd::Stuck(stuck) => stuck.message.as_str(),
            _ => "",
        };
        for (line, label) in wrap(message, 96, 4).iter().zip(iter::once("because").chain(iter::repeat(""))) {
            context.out.line(&format!("  {label:9} {}", line.trim_start()));
        }
        if saved.is_none() {
            context.out.line("  kept      nothing: when it was run again, it came out differently");
        }
    }
    if let Some(Saved { schedule, timeline, steps: (before, after) }) = saved {
        let steps = match after {
            _ if after == before => format!("{before} steps"),
            _ => format!("{before} steps, shrunk to {after}"),
        };
        context.out.line(&format!("  schedule  {} ({steps})", schedule.display()));
        context.out.line(&format!("  timeline  {}", timeline.display()));
        let on = if args.on == On::Postgres { " --on postgres" } else { "" };
        let line = context.replay_line(Path::new(schedule));
        context.out.line(&format!("  replay    {line}{on}"));
    }
}

fn error_text(end: &RunEnd, tally: &Tally) -> String {
    let text = match end {
        RunEnd::Failed(error) => crate::report::failure(error),
        RunEnd::Nondeterministic(message) => format!("is not deterministic: {message}"),
        RunEnd::Misfit { step, message } => format!("does not fit at step {step}: {message}"),
        other => format!("{other:?}"),
    };
    let seed = tally.ended.as_ref().and_then(|ended| ended.seed);
    seed.map_or_else(|| text.clone(), |seed| format!("{text} (in the run of seed {seed})"))
}

fn conclude(all: &[Explored], context: &mut Context<'_>) {
    let surprises = all.iter().filter(|explored| !explored.verdict.is_expected(&explored.scenario)).count();
    let plural = |count| if count == 1 { "" } else { "s" };
    let (tone, text) = if surprises == 0 {
        (Tone::Good, format!("{} scenario{}, all as expected", all.len(), plural(all.len())))
    } else {
        (Tone::Bad, format!("{surprises} of {} scenario{} not as expected", all.len(), plural(all.len())))
    };
    let text = context.out.paint().tone(tone, &text);
    context.out.line(&format!("\n{text}"));
}

/// Of several surprises, the one that makes the others worth least: a failed environment before a refused statement before
/// nondeterminism before what was found.
fn worst(all: &[Explored]) -> Exit {
    const ORDER: [Exit; 6] =
        [Exit::Environment, Exit::Refused, Exit::Nondeterminism, Exit::Violated, Exit::Stuck, Exit::Vacuous];
    let exits: Vec<Exit> = all.iter().map(exit).collect();
    ORDER.into_iter().find(|exit| exits.contains(exit)).unwrap_or(Exit::Expected)
}

fn exit(explored: &Explored) -> Exit {
    match &explored.verdict {
        verdict if verdict.is_expected(&explored.scenario) => Exit::Expected,
        Verdict::Holds | Verdict::Violated(_) => Exit::Violated,
        Verdict::Vacuous(_) => Exit::Vacuous,
        Verdict::Stuck => Exit::Stuck,
        Verdict::Error(end) => exit_of(end),
    }
}
