//! `skiptrace list`

use std::iter;

use super::{Context, Failure, library};
use crate::exit::Exit;
use crate::explore::milestone;
use crate::report::paint::Tone;
use crate::report::text::wrap;
use crate::scenario::Expected;
use crate::{invariant, protocol};

/// Lines are wrapped here.
const WIDTH: usize = 110;

pub(super) fn list(context: &mut Context<'_>) -> Result<Exit, Failure> {
    let scenarios = library()?.all()?;
    let scenarios = scenarios.iter().map(|scenario| {
        let verdict = match &scenario.expected {
            Expected::Holds => "holds".to_owned(),
            Expected::Violates { invariant } => format!("violates {invariant}"),
        };
        (scenario.name.as_str(), format!("{} [{}: {verdict}]", scenario.title, scenario.protocol))
    });
    section(context, "Scenarios", scenarios);
    let protocols = protocol::all().iter().map(|protocol| (protocol.name(), protocol.summary().to_owned()));
    section(context, "Protocols", protocols);
    let invariants = invariant::all().iter().map(|invariant| (invariant.name, invariant.summary.to_owned()));
    section(context, "Invariants", invariants);
    let milestones = milestone::all().iter().map(|milestone| (milestone.name, milestone.summary.to_owned()));
    section(context, "Milestones", milestones);
    Ok(Exit::Expected)
}

fn section<'a>(context: &mut Context<'_>, title: &str, entries: impl Iterator<Item = (&'a str, String)>) {
    let entries: Vec<_> = entries.collect();
    let names = entries.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let title = context.out.paint().tone(Tone::Strong, title);
    context.out.line(&title);
    for (name, summary) in entries {
        let lines = wrap(&summary, WIDTH - names - 4, usize::MAX);
        let labels = iter::once(name).chain(iter::repeat(""));
        for (label, line) in labels.zip(lines) {
            context.out.line(format!("  {label:names$}  {}", line.trim_start()).trim_end());
        }
    }
    context.out.line("");
}
