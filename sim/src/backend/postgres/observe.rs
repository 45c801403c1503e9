//! Reading what is committed in the tables that a layout names. Their queries travel in one flight, and nobody commits meanwhile: a
//! look is taken between two steps, when every session is idle or waits for one that is.

use tokio_postgres::Row;

use crate::backend::{GenerationState, Layout, Observation, ObservedEvent, ObservedSkip};

/// What a query reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Events,
    Applied,
    Skips,
    Generations,
}

/// Parts, each with its table and its query, so that it is read only when that table may have changed, and planned anew only when that
/// table was truncated. A query's rows, in no order: up to three integers; a stream's is its place in the layout, NULL if it has none.
pub(super) fn queries(layout: &Layout) -> Vec<(Part, &str, String)> {
    let streams: Vec<String> = layout.streams.iter().map(|id| format!("'{}'", id.replace('\'', "''"))).collect();
    let place = format!("array_position(ARRAY[{}]::text[], stream_id::text) - 1", streams.join(", "));
    let of = |third: &str, table: &str| format!("SELECT {place}, version::int8, {third}::int8 FROM {table}");
    let states = "array_position(ARRAY['building', 'live', 'retired', 'abandoned'], state::text)";
    let generations = format!("SELECT {states}, generation::int8, 0::int8 FROM {}", layout.generations);
    let mut queries = vec![
        (Part::Events, layout.events.as_str(), of("position", &layout.events)),
        (Part::Applied, layout.applied.as_str(), of("seq", &layout.applied)),
        (Part::Generations, layout.generations.as_str(), generations),
    ];
    queries.extend(layout.skips.as_deref().map(|skips| (Part::Skips, skips, of("generation", skips))));
    queries
}

/// Puts a part's rows into `into`; errs with what stands in the database and should not.
pub(super) fn read(part: Part, rows: &[Row], into: &mut Observation) -> Result<(), String> {
    match part {
        Part::Events => events(rows, &mut into.events),
        Part::Applied => events(rows, &mut into.applied),
        Part::Skips => {
            into.skips.clear();
            for row in rows {
                into.skips.push(ObservedSkip { stream: stream(row)?, version: row.get(1), generation: row.get(2) });
            }
            into.skips.sort_unstable();
            Ok(())
        }
        Part::Generations => {
            into.generations.clear();
            for row in rows {
                into.generations.push((row.get(1), state(row.get(0))?));
            }
            into.generations.sort_unstable();
            Ok(())
        }
    }
}

fn events(rows: &[Row], into: &mut Vec<ObservedEvent>) -> Result<(), String> {
    into.clear();
    for row in rows {
        into.push(ObservedEvent { stream: stream(row)?, version: row.get(1), position: row.get(2) });
    }
    into.sort_unstable_by_key(|event| event.position);
    Ok(())
}

fn stream(row: &Row) -> Result<u16, String> {
    let place = row.get::<_, Option<i32>>(0).and_then(|place| u16::try_from(place).ok());
    place.ok_or_else(|| "a row of a stream that the scenario does not have".to_owned())
}

fn state(place: Option<i32>) -> Result<GenerationState, String> {
    match place {
        Some(1) => Ok(GenerationState::Building),
        Some(2) => Ok(GenerationState::Live),
        Some(3) => Ok(GenerationState::Retired),
        Some(4) => Ok(GenerationState::Abandoned),
        _ => Err("a generation in a state that is none of building, live, retired, abandoned".to_owned()),
    }
}
