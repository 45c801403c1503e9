//! Reading what is committed in the tables that a layout names. Their queries travel in one flight, and nobody commits meanwhile: a
//! look is taken between two steps, when every session is idle or waits for one that is.

use tokio_postgres::Row;

use crate::backend::{GenerationState, Layout, Observation, ObservedEvent, ObservedSkip};

const EVENT: i32 = 0;
const APPLIED: i32 = 1;
const SKIP: i32 = 2;
const GENERATION: i32 = 3;

/// A query a table, so that each is planned anew only when that table was truncated. Their rows, in no order: kind, then up to three
/// integers; a stream's is its place in the layout, NULL if it has none.
pub(super) fn queries(layout: &Layout) -> Vec<String> {
    let streams: Vec<String> = layout.streams.iter().map(|id| format!("'{}'", id.replace('\'', "''"))).collect();
    let place = format!("array_position(ARRAY[{}]::text[], stream_id::text) - 1", streams.join(", "));
    let of = |kind: i32, third: &str, table: &str| {
        format!("SELECT {kind}, {place}, version::int8, {third}::int8 FROM {table}")
    };
    let states = "array_position(ARRAY['building', 'live', 'retired', 'abandoned'], state::text)";
    let mut queries = vec![
        of(EVENT, "position", &layout.events),
        of(APPLIED, "seq", &layout.applied),
        format!("SELECT {GENERATION}, {states}, generation::int8, 0::int8 FROM {}", layout.generations),
    ];
    queries.extend(layout.skips.as_ref().map(|skips| of(SKIP, "generation", skips)));
    queries
}

/// Puts the rows into `into`; errs with what stands in the database and should not.
pub(super) fn read(rows: &[Vec<Row>], into: &mut Observation) -> Result<(), String> {
    let Observation { events, applied, skips, generations } = into;
    events.clear();
    applied.clear();
    skips.clear();
    generations.clear();
    for row in rows.iter().flatten() {
        let (a, b, c): (Option<i32>, i64, i64) = (row.get(1), row.get(2), row.get(3));
        let kind: i32 = row.get(0);
        if kind == GENERATION {
            generations.push((b, state(a)?));
            continue;
        }
        let stream = a.and_then(|place| u16::try_from(place).ok());
        let stream = stream.ok_or("a row of a stream that the scenario does not have")?;
        match kind {
            EVENT => events.push(ObservedEvent { stream, version: b, position: c }),
            APPLIED => applied.push(ObservedEvent { stream, version: b, position: c }),
            SKIP => skips.push(ObservedSkip { stream, version: b, generation: c }),
            _ => unreachable!("the query has four kinds"),
        }
    }
    events.sort_unstable_by_key(|event| event.position);
    applied.sort_unstable_by_key(|event| event.position);
    skips.sort_unstable();
    generations.sort_unstable();
    Ok(())
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
