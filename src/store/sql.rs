//! The statements of appending, reading and registering.

use crate::statements::Text;

/// A1 and A2 of an append: `bump` gives the stream's new version, or no row where it is another than expected; then no event
/// is written. `$1` stream, `$2` how many events, `$3` to `$5` types, data and metadata, and for an exact version `$6`.
macro_rules! append_events {
    ($bump:literal) => {
        concat!(
            "WITH bumped AS (
         ",
            $bump,
            "
     )
     INSERT INTO {schema}.events (stream_id, version, type, data, metadata)
     SELECT $1, b.version - $2 + e.n, e.type, e.data, e.metadata
     FROM bumped b CROSS JOIN unnest($3::text[], $4::jsonb[], $5::jsonb[]) WITH ORDINALITY AS e (type, data, metadata, n)
     ORDER BY e.n
     RETURNING position, recorded_at, version"
        )
    };
}

/// Expected version `$6` > 0.
pub(crate) const APPEND_AT: Text = (
    "append.at_version",
    append_events!(
        "UPDATE {schema}.streams SET version = version + $2 WHERE stream_id = $1 AND version = $6 RETURNING version"
    ),
);

/// Expected: no stream.
pub(crate) const APPEND_FIRST: Text = (
    "append.first",
    append_events!(
        "INSERT INTO {schema}.streams (stream_id, version) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING version"
    ),
);

/// Any version.
pub(crate) const APPEND_ANY: Text = (
    "append.any",
    append_events!(
        "INSERT INTO {schema}.streams AS s (stream_id, version) VALUES ($1, $2)
         ON CONFLICT (stream_id) DO UPDATE SET version = s.version + excluded.version
         RETURNING s.version"
    ),
);

/// After a conflict, for the error's text.
pub(crate) const READ_VERSION: Text =
    ("append.read_version", "SELECT version FROM {schema}.streams WHERE stream_id = $1");

/// What each projection's generations want of an append to stream `$1`. `pending` is asked of the live one only: to
/// look through the dead skip records of a building one's hot stream is slow, and the answer would not matter.
pub(crate) const READ_GENERATIONS: Text = (
    "append.read_generations",
    "SELECT g.projection, g.generation, g.state, g.handler_version,
            g.state = 'live' AND EXISTS (
                SELECT 1 FROM {schema}.skips s
                WHERE s.stream_id = $1 AND s.projection = g.projection AND s.generation = g.generation
            ) AS pending
     FROM {schema}.generations g
     WHERE g.state IN ('live', 'building')
     ORDER BY g.projection, g.generation",
);

/// All skip records of an append, for all its events and all generations.
pub(crate) const INSERT_SKIPS: Text = (
    "append.insert_skips",
    "INSERT INTO {schema}.skips (stream_id, projection, generation, version, position, reason)
     SELECT $1, s.projection, s.generation, s.version, s.position, s.reason
     FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
          AS s (projection, generation, version, position, reason)",
);

/// The events of stream `$1` after version `$2`, at most `$3`.
pub(crate) const READ_STREAM: Text = (
    "store.read_stream",
    "SELECT e.stream_id, e.version, e.position, e.type, e.data, e.metadata, e.recorded_at
     FROM {schema}.events e
     WHERE e.stream_id = $1 AND e.version > $2
     ORDER BY e.version
     LIMIT $3",
);

/// A projection is born building, on an empty log too: what was appended before is replayed by its first rebuild.
/// Does nothing where it has been born.
pub(crate) const REGISTER: Text = (
    "store.register",
    "WITH born AS (
         INSERT INTO {schema}.generations (projection, generation, state, handler_version)
         VALUES ($1, 1, 'building', $2)
         ON CONFLICT DO NOTHING
         RETURNING projection, generation
     )
     INSERT INTO {schema}.rebuild_progress (projection, generation, phase)
     SELECT projection, generation, 'fencing' FROM born",
);
