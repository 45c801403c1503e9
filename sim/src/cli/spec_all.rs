//! `skiptrace spec --all-permutations`: every order of the steps, and what the orders come to.

use std::path::Path;

use serde::Serialize;

use super::args::{Format, On, Spec as Args};
use super::ground::Ground;
use super::spec::{FileRun, LineHead, Of, Tally, begin, complain, lost};
use super::{Context, Failure};
use crate::report::paint::Tone;
use crate::spec::Spec;
use crate::spec::explore::{Explored, Group, explore};
use crate::spec::run::{End, heading};

/// What was found on one database.
struct Found {
    on: On,
    explored: Explored,
}

pub(super) fn all_permutations(
    args: &Args,
    file: &Path,
    spec: &Spec,
    grounds: &[(On, Ground)],
    context: &mut Context<'_>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let (format, max) = (args.format, args.max_permutations);
    let mut all = Vec::new();
    for (on, ground) in grounds {
        let (mut database, progress) = begin(file, spec, ground, None, context.err.is_terminal())?;
        let explored = explore(spec, &mut *database, true, max, &mut || progress.add(1)).map_err(lost)?;
        progress.finish();
        all.push(Found { on: *on, explored });
    }
    if format == Format::Text {
        context.out.text(&heading(spec));
    }
    for found in &all {
        match format {
            Format::Json => json(file, found, context),
            Format::Text if all.len() == 1 => text(found, context),
            Format::Text => summary(found, context),
        }
    }
    if let [first, second] = all.as_slice() {
        tally.note_difference(only_in(first, second, format, context) | only_in(second, first, format, context));
    }
    for found in all {
        if found.explored.limited {
            let label = context.err.paint().tone(Tone::Notable, "not all:");
            let (file, on, run) = (file.display(), found.on.name(), found.explored.runs + found.explored.cut);
            context.err.line(&format!(
                "{label} {file}: the search on {on} was ended after {run} interleavings: see --max-permutations"
            ));
        }
        let runs = found.explored.groups.into_iter().map(|group| group.run).collect();
        complain(file, &FileRun { on: found.on, runs, of: Of::Outcomes }, context, tally);
    }
    Ok(())
}

fn summary(found: &Found, context: &mut Context<'_>) {
    let Explored { groups, runs, cut, limited } = &found.explored;
    let on = found.on.name();
    let more = if *limited { "; not all: the search was ended" } else { "" };
    let line = format!(
        "\non {on}: {runs} interleavings run, {cut} cut off because what was left of them could only come to the same, {} outcomes{more}",
        groups.len()
    );
    context.out.line(&line);
}

fn text(found: &Found, context: &mut Context<'_>) {
    for (number, Group { run, count }) in found.explored.groups.iter().enumerate() {
        let plural = if *count == 1 { "" } else { "s" };
        context.out.line(&format!("\noutcome {}: {count} interleaving{plural}; the first:", number + 1));
        context.out.text(&run.output);
    }
    summary(found, context);
}

/// Shows the outcomes of `one` that `other` does not have. One that was refused says nothing.
fn only_in(one: &Found, other: &Found, format: Format, context: &mut Context<'_>) -> bool {
    let refused = other.explored.groups.iter().any(|group| matches!(group.run.end, End::Refused(_)));
    let mut any = false;
    for group in &one.explored.groups {
        let same = |known: &&Group| known.run.told == group.run.told && known.run.end == group.run.end;
        let is_known = other.explored.groups.iter().any(|known| same(&known));
        if is_known || refused || matches!(group.run.end, End::Refused(_)) {
            continue;
        }
        any = true;
        if format == Format::Text {
            context.out.line(&format!("\nonly on {}:", one.on.name()));
            context.out.text(&group.run.output);
        }
    }
    any
}

/// A line of `--format json`.
#[derive(Serialize)]
struct Line<'l> {
    #[serde(flatten)]
    head: LineHead<'l>,
    /// How many interleavings were run that came to this.
    interleavings: u64,
    /// In the whole file.
    run: u64,
    cut: u64,
    output: &'l str,
}

fn json(file: &Path, found: &Found, context: &mut Context<'_>) {
    for Group { run, count } in &found.explored.groups {
        let line = Line {
            head: LineHead::new(file, found.on, run),
            interleavings: *count,
            run: found.explored.runs,
            cut: found.explored.cut,
            output: &run.output,
        };
        context.out.line(&serde_json::to_string(&line).expect("a line can be written"));
    }
}
