//! `skiptrace status`: the watch on the skip records of a real store, for people and for health probes.

use std::time::Duration;

use comfy_table::{Table, presets};
use skiptrace::postgres::PostgresSession;
use skiptrace::{DbError, EventStore, Monitor, SqlState};

use super::args::{Bound, Status as Args};
use super::{Context, Failure};
use crate::backend::block_on::block_on;
use crate::exit::Exit;
use crate::report::paint::Tone;
use crate::report::text::thousands;

/// A probe that hangs is worse than one that fails.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn status(args: &Args, context: &mut Context<'_>) -> Result<Exit, Failure> {
    let store = EventStore::builder().schema(&args.schema).build();
    let store = store.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let status = read(&store, args)?;
    if context.out.is_closed() {
        return Ok(Exit::Expected);
    }
    show(&status, context);
    let mut exit = Exit::Expected;
    for bound in &args.check {
        if let Some(message) = passed(*bound, &status) {
            let label = context.err.paint().tone(Tone::Bad, "check failed:");
            context.err.line(&format!("{label} {message}"));
            exit = Exit::Violated;
        }
    }
    Ok(exit)
}

fn read(store: &EventStore, args: &Args) -> Result<skiptrace::Status, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Environment, error.to_string()))?;
    let status = block_on(&runtime, async {
        tokio::time::timeout(ANSWER_WITHIN, async {
            let mut session = PostgresSession::connect(&args.database_url).await?;
            Monitor::new(store).read(&mut session).await
        })
        .await
    });
    match status {
        Ok(Ok(status)) => Ok(status),
        Ok(Err(error)) => Err(Failure::new(Exit::Environment, explain(&error, &args.schema))),
        Err(_) => {
            let seconds = ANSWER_WITHIN.as_secs();
            Err(Failure::new(Exit::Environment, format!("the server has not answered within {seconds} seconds")))
        }
    }
}

fn explain(error: &DbError, schema: &str) -> String {
    if error.sqlstate() == SqlState::UNDEFINED_TABLE {
        return format!(
            "there is no event store in the schema {schema:?} of this database: {error}\nname it with --schema"
        );
    }
    if error.sqlstate().is_connection_lost() {
        return format!(
            "cannot reach the database: {error}\n--database-url says where it is: postgres://USER:PASSWORD@HOST:PORT/DATABASE"
        );
    }
    format!("cannot read the store: {error}")
}

fn passed(bound: Bound, status: &skiptrace::Status) -> Option<String> {
    match bound {
        Bound::Depth(most) => {
            let depth = status.depth();
            (depth > most).then(|| format!("expected at most {most} skip records, found {depth}"))
        }
        Bound::Age(most) => {
            let age = status.oldest_age();
            let message = || format!("expected no skip record older than {most:?}, found one of {}", age_text(age));
            (age > most).then(message)
        }
    }
}

fn show(status: &skiptrace::Status, context: &mut Context<'_>) {
    let generations = status.generations.iter().map(|generation| {
        let rebuild = generation.progress.map_or(String::new(), |progress| {
            let fence = if progress.fenced { "fenced" } else { "not fenced" };
            let (cursor, end) = (progress.cursor, progress.pass_end);
            format!("{}, {fence}, pass {}, position {cursor} of {end}", progress.phase, progress.pass)
        });
        vec![
            generation.projection.to_string(),
            generation.generation.to_string(),
            generation.state.to_string(),
            generation.handler_version.to_string(),
            rebuild,
        ]
    });
    let header = ["projection", "generation", "state", "handler", "rebuild"];
    section(context, "Generations", &header, generations.collect(), "no projection is registered");
    let backlog = status.backlog.iter().map(|backlog| {
        vec![
            backlog.projection.to_string(),
            backlog.generation.to_string(),
            backlog.reason.to_string(),
            thousands(backlog.count),
            age_text(backlog.oldest_age),
        ]
    });
    let header = ["projection", "generation", "reason", "skip records", "oldest"];
    section(context, "Skip records", &header, backlog.collect(), "none: everything is applied");
    let archive = status
        .archive
        .iter()
        .map(|archived| vec![archived.projection.to_string(), archived.outcome.to_string(), thousands(archived.count)]);
    section(context, "Archived", &["projection", "outcome", "skip records"], archive.collect(), "none");
}

fn section(context: &mut Context<'_>, title: &str, header: &[&str], rows: Vec<Vec<String>>, none: &str) {
    let title = context.out.paint().tone(Tone::Strong, title);
    context.out.line(&title);
    if rows.is_empty() {
        context.out.line(&format!("  {none}"));
    } else {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(header.to_vec()).add_rows(rows);
        for line in table.to_string().lines() {
            context.out.line(&format!(" {}", line.trim_end()));
        }
    }
    context.out.line("");
}

/// `2 h 5 min`, `3.2 s`.
fn age_text(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{:.1} s", age.as_secs_f64()),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_two_largest_units() {
        let text = |seconds| age_text(Duration::from_secs_f64(seconds));
        assert_eq!(["0.5 s", "59.0 s"], [text(0.5), text(59.0)].each_ref().map(String::as_str));
        assert_eq!(text(61.0), "1 min 1 s");
        assert_eq!(text(7500.0), "2 h 5 min");
        assert_eq!(text(200_000.0), "2 d 7 h");
    }
}
