//! `skiptrace spec`

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::Serialize;

use super::args::{Format, On, Spec as Args};
use super::ground::Ground;
use super::progress::{Progress, Stopwatch};
use super::spec_all::all_permutations;
use super::{Context, Failure};
use crate::backend::BackendError;
use crate::backend::messages::{Messages, ModelMessages, PostgresMessages, Trouble};
use crate::exit::Exit;
use crate::report::paint::Tone;
use crate::spec::compare::{Comparison, compare};
use crate::spec::run::{End, PermutationRun, connection_names, heading, permutation};
use crate::spec::{KEPT_MAX, Spec, TEXT_MAX};

pub(super) fn spec(args: &Args, context: &mut Context<'_>) -> Result<Exit, Failure> {
    if args.file.len() > 1 && !args.expect.is_empty() {
        return Err(Failure::new(Exit::Usage, "--expect tells what one file prints: give one FILE"));
    }
    let mut specs = Vec::with_capacity(args.file.len());
    for file in &args.file {
        specs.push((file, read(file, args)?));
    }
    let mut expected = Vec::new();
    for file in &args.expect {
        expected.push((file.display().to_string(), text_of(file)?));
    }
    let mut backends = args.on.clone();
    backends.dedup();
    let mut grounds = Vec::new();
    for on in backends {
        grounds.push((on, Ground::acquire(on)?));
    }
    let mut tally = Tally::default();
    if args.all_permutations {
        for (file, spec) in &specs {
            all_permutations(args, file, spec, &grounds, context, &mut tally)?;
        }
        return Ok(tally.exit());
    }
    let job = Job { format: args.format, grounds, expected };
    for (file, spec) in &specs {
        run_file(&job, file, spec, context, &mut tally)?;
    }
    Ok(tally.exit())
}

/// A file, as far as anything is made of it: it may be one that never ends.
fn bytes_of(file: &Path, max: usize) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(max as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| Failure::new(Exit::Usage, format!("cannot read {}: {error}", file.display())))?;
    Ok(bytes)
}

/// What is expected.
fn text_of(file: &Path) -> Result<String, Failure> {
    let wrong = |what: String| Failure::new(Exit::Usage, format!("cannot read {}: {what}", file.display()));
    let bytes = bytes_of(file, KEPT_MAX)?;
    if bytes.len() > KEPT_MAX {
        return Err(wrong(format!("it has more than {KEPT_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| wrong(error.to_string()))
}

fn read(file: &Path, args: &Args) -> Result<Spec, Failure> {
    let bytes = bytes_of(file, TEXT_MAX)?;
    // A search leaves out most interleavings, and ends where it has run so many.
    let permutations_max = (!args.all_permutations).then_some(args.max_permutations);
    Spec::read(&bytes, permutations_max)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}:{error}", file.display())))
}

/// What has been found in all files.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "any of them may be true")]
pub(super) struct Tally {
    differs: bool,
    stuck: bool,
    refused: bool,
    setup_failed: bool,
}

impl Tally {
    pub(super) fn note_difference(&mut self, differs: bool) {
        self.differs |= differs;
    }

    fn exit(&self) -> Exit {
        match self {
            Self { setup_failed: true, .. } => Exit::Usage,
            Self { differs: true, .. } => Exit::Violated,
            Self { stuck: true, .. } => Exit::Stuck,
            Self { refused: true, .. } => Exit::Refused,
            _ => Exit::Expected,
        }
    }
}

/// A file's permutations on one database.
pub(super) struct FileRun {
    pub(super) on: On,
    pub(super) runs: Vec<PermutationRun>,
    pub(super) of: Of,
}

/// What a file's runs are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    /// The permutations that it tells.
    Told,
    /// All that there are, because it tells none.
    Implied,
    /// One of each outcome of a search.
    Outcomes,
}

/// What is to be done with each file.
struct Job {
    format: Format,
    grounds: Vec<(On, Ground)>,
    /// Names and texts of expected outputs.
    expected: Vec<(String, String)>,
}

fn run_file(job: &Job, file: &Path, spec: &Spec, context: &mut Context<'_>, tally: &mut Tally) -> Result<(), Failure> {
    let Job { format, grounds, expected } = job;
    // Text goes out while it comes in, unless it is to be compared first.
    let prints = *format == Format::Text && expected.is_empty() && grounds.len() == 1;
    let heading = heading(spec);
    if prints {
        context.out.text(&heading);
    }
    let mut all = Vec::new();
    let of = if spec.permutations.is_empty() { Of::Implied } else { Of::Told };
    for (on, ground) in grounds {
        let runs = run_on(file, spec, ground, prints, context)?;
        all.push(FileRun { on: *on, runs, of });
    }
    let mut comparisons: Vec<Option<Comparison>> =
        all.iter().map(|run| (!expected.is_empty()).then(|| compare(&heading, &run.runs, expected))).collect();
    if let [first, second] = all.as_slice()
        && expected.is_empty()
    {
        let text: String =
            std::iter::once(heading.as_str()).chain(first.runs.iter().map(|r| r.output.as_str())).collect();
        comparisons[1] = Some(compare(&heading, &second.runs, &[(first.on.name().to_owned(), text)]));
    }
    for (run, comparison) in all.iter().zip(&comparisons) {
        if *format == Format::Json {
            json(file, run, comparison.as_ref(), context);
        } else if let Some(comparison) = comparison {
            context.out.text(&comparison.diff);
        }
        tally.differs |= comparison.as_ref().is_some_and(Comparison::differs);
        complain(file, run, context, tally);
    }
    Ok(())
}

fn run_on(
    file: &Path,
    spec: &Spec,
    ground: &Ground,
    prints: bool,
    context: &mut Context<'_>,
) -> Result<Vec<PermutationRun>, Failure> {
    let terminal = context.err.is_terminal() && !(prints && context.out.is_terminal());
    let count = u64::try_from(spec.count()).unwrap_or(u64::MAX);
    let (mut database, progress) = begin(file, spec, ground, Some(count), terminal)?;
    let mut runs = Vec::new();
    let mut kept = 0;
    for steps in spec.interleavings() {
        let mut run = permutation(spec, &steps, &mut *database).map_err(lost)?;
        if prints {
            context.out.text(&std::mem::take(&mut run.output));
        }
        progress.add(1);
        run.told.clear();
        kept += run.output.len() + run.complaints.iter().map(String::len).sum::<usize>();
        if kept > KEPT_MAX {
            let too_much =
                format!("permutations that print more than {KEPT_MAX} bytes together, where they are compared");
            runs.push(PermutationRun { output: String::new(), end: End::Refused(too_much), ..run });
            break;
        }
        let over = matches!(run.end, End::SetupFailed(_)) || context.out.is_closed();
        runs.push(run);
        if over {
            break;
        }
    }
    progress.finish();
    Ok(runs)
}

pub(super) fn lost(message: String) -> Failure {
    Failure::from(BackendError::Environment(message))
}

/// Connections for the sessions of the spec in `file`, and how far it is with its `runs`, shown where somebody looks at a `terminal`.
pub(super) fn begin<'g>(
    file: &Path,
    spec: &Spec,
    ground: &'g Ground,
    runs: Option<u64>,
    terminal: bool,
) -> Result<(Box<dyn Messages + 'g>, Progress), Failure> {
    let name = file.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    let database = open(&name, spec, ground)?;
    Ok((database, Progress::new(&name, runs, Stopwatch::start(), terminal)))
}

fn open<'g>(name: &str, spec: &Spec, ground: &'g Ground) -> Result<Box<dyn Messages + 'g>, Failure> {
    Ok(match ground {
        Ground::Model => Box::new(ModelMessages::named(&format!("isolation/{name}"), &connection_names(spec))),
        Ground::Postgres(servers) => {
            match PostgresMessages::open(servers.first(), &format!("isolation/{name}"), &connection_names(spec)) {
                Ok(database) => Box::new(database),
                Err(Trouble::Environment(message)) => return Err(lost(message)),
                Err(other) => return Err(lost(format!("{other:?}"))),
            }
        }
    })
}

/// How many permutations are named that came to the same bad end.
const NAMED_MAX: usize = 5;

/// Says on standard error what has not ended well.
pub(super) fn complain(file: &Path, run: &FileRun, context: &mut Context<'_>, tally: &mut Tally) {
    let file = file.display();
    let mut ends: Vec<(&End, Vec<&PermutationRun>)> = Vec::new();
    for one in &run.runs {
        for complaint in &one.complaints {
            context.err.line(&format!("{file}: {complaint}"));
        }
        match ends.iter_mut().find(|(known, _)| **known == one.end) {
            Some((_, runs)) => runs.push(one),
            None => ends.push((&one.end, vec![one])),
        }
    }
    let (all, of) = (run.runs.len(), if run.of == Of::Outcomes { "outcomes" } else { "permutations" });
    for (end, runs) in ends {
        let (tone, label, what) = match end {
            End::Done => continue,
            End::SetupFailed(message) => {
                tally.setup_failed = true;
                let label = context.err.paint().tone(Tone::Bad, "error:");
                context.err.line(&format!("{label} {file}: {message}"));
                continue;
            }
            End::Stuck(step) => {
                tally.stuck = true;
                (Tone::Bad, "stuck:", format!("{step} never comes back"))
            }
            End::Refused(construct) => {
                tally.refused = true;
                (Tone::Notable, "refused:", construct.clone())
            }
        };
        let (label, some) = (context.err.paint().tone(tone, label), runs.len());
        context.err.line(&format!("{label} {file}: {what}: in {some} of {all} {of}"));
        if some < all {
            for one in runs.iter().take(NAMED_MAX) {
                context.err.line(&format!("  permutation {}", one.steps.join(" ")));
            }
        }
        if some < all && some > NAMED_MAX {
            context.err.line(&format!("  and {} more, which --format json lists", some - NAMED_MAX));
        }
    }
    if run.of == Of::Implied && run.runs.iter().any(|one| matches!(one.end, End::Stuck(_))) {
        let hint = context.err.paint().tone(Tone::Notable, "hint:");
        let rule = "a session that waits can take no step; --all-permutations leaves out what asks one to";
        context.err.line(&format!("{hint} {rule}"));
    }
}

/// How every line of `--format json` begins.
#[derive(Serialize)]
pub(super) struct LineHead<'l> {
    file: String,
    on: &'static str,
    /// Of an outcome, the first interleaving that came to it.
    permutation: &'l [String],
    /// `done`, `refused`, `stuck`, `setup_failed`
    end: &'static str,
    /// What was refused, what is stuck, what failed.
    reason: Option<&'l str>,
}

impl<'l> LineHead<'l> {
    pub(super) fn new(file: &Path, on: On, run: &'l PermutationRun) -> Self {
        let (end, reason) = run.end.words();
        Self { file: file.display().to_string(), on: on.name(), permutation: &run.steps, end, reason }
    }
}

/// A line of `--format json`.
#[derive(Serialize)]
struct Line<'l> {
    #[serde(flatten)]
    head: LineHead<'l>,
    /// `same`, `refused`, `different`; null: there was nothing to compare with.
    compared: Option<&'static str>,
    output: &'l str,
}

fn json(file: &Path, run: &FileRun, comparison: Option<&Comparison>, context: &mut Context<'_>) {
    for (number, one) in run.runs.iter().enumerate() {
        let line = Line {
            head: LineHead::new(file, run.on, one),
            compared: comparison.map(|comparison| comparison.permutations[number].name()),
            output: &one.output,
        };
        context.out.line(&serde_json::to_string(&line).expect("a line can be written"));
    }
}
