//! The statements of draining.

use crate::statements::Text;

/// Locks the stream; a drain that stalls with it is ended by the server after `$2`. The claim is a statement of its own: this one's snapshot is older than the lock that it waited for.
pub(crate) const LOCK_STREAM: Text = (
    "drain.lock_stream",
    "WITH locked AS MATERIALIZED (
         SELECT s.version FROM {schema}.streams s WHERE s.stream_id = $1 FOR NO KEY UPDATE
     )
     SELECT set_config('idle_in_transaction_session_timeout', $2, true) FROM locked l",
);

/// Locks those of the streams `$1` that nobody works on, in the order of their names, and tells which. `$2` as above.
pub(crate) const LOCK_FREE_STREAMS: Text = (
    "drain.lock_free_streams",
    "WITH locked AS MATERIALIZED (
         SELECT s.stream_id FROM {schema}.streams s WHERE s.stream_id = ANY ($1::text[])
         ORDER BY s.stream_id FOR NO KEY UPDATE SKIP LOCKED
     )
     SELECT l.stream_id, set_config('idle_in_transaction_session_timeout', $2, true) FROM locked l",
);

/// Takes and archives the skip records of the streams `$1`, except those of building generations and those of live ones
/// whose handler (`$2` name, `$3` version) is not here; of versions below `$4` only. Returns them with their events: the `live` ones must
/// be applied in this transaction. LEFT JOIN, so that a record without its event is seen and not lost.
pub(crate) const CLAIM: Text = (
    "drain.claim",
    "WITH claimed AS (
         DELETE FROM {schema}.skips s USING {schema}.generations g
         WHERE s.stream_id = ANY ($1::text[])
           AND s.version < $4
           AND g.projection = s.projection AND g.generation = s.generation
           AND g.state <> 'building'
           AND (g.state <> 'live' OR EXISTS (
               SELECT 1 FROM unnest($2::text[], $3::bigint[]) AS h (projection, handler_version)
               WHERE h.projection = g.projection AND h.handler_version = g.handler_version
           ))
         RETURNING s.stream_id, s.projection, s.generation, s.version, s.position, s.reason, s.attempts,
                   s.last_error, s.recorded_at, g.state
     ), archived AS (
         INSERT INTO {schema}.skip_archive
             (stream_id, projection, generation, version, position, reason, attempts, last_error, recorded_at, outcome)
         SELECT c.stream_id, c.projection, c.generation, c.version, c.position, c.reason, c.attempts, c.last_error,
                c.recorded_at, CASE WHEN c.state = 'live' THEN 'projected' ELSE 'superseded' END
         FROM claimed c
     )
     SELECT c.stream_id, c.version, c.position, e.type, e.data, e.metadata, e.recorded_at, c.projection, c.state
     FROM claimed c LEFT JOIN {schema}.events e ON e.stream_id = c.stream_id AND e.version = c.version
     ORDER BY c.projection, c.generation, c.stream_id, c.version",
);

/// The generations that have something to claim for the handlers `$1` (name), `$2` (version). The scalar subquery is one look
/// into an index; EXISTS may become a join that reads all records of a building generation.
pub(crate) const FIND_GENERATIONS: Text = (
    "drain.find_generations",
    "SELECT g.projection, g.generation
     FROM {schema}.generations g
     WHERE g.state <> 'building'
       AND (g.state <> 'live' OR EXISTS (
           SELECT 1 FROM unnest($1::text[], $2::bigint[]) AS h (projection, handler_version)
           WHERE h.projection = g.projection AND h.handler_version = g.handler_version
       ))
       AND (SELECT s.stream_id FROM {schema}.skips s
            WHERE s.projection = g.projection AND s.generation = g.generation
            ORDER BY s.stream_id LIMIT 1) IS NOT NULL
     ORDER BY g.projection, g.generation",
);

/// The next `$4` streams after `$3` that have skip records of generation `$1`, `$2`, and how many.
pub(crate) const FIND_STREAMS: Text = (
    "drain.find_streams",
    "SELECT s.stream_id, count(*)
     FROM {schema}.skips s
     WHERE s.projection = $1 AND s.generation = $2 AND s.stream_id > $3
     GROUP BY s.stream_id
     ORDER BY s.stream_id
     LIMIT $4",
);

/// The version of the record of stream `$3` in generation `$1`, `$2` that comes after the first `$4`.
pub(crate) const FIND_END: Text = (
    "drain.find_end",
    "SELECT s.version
     FROM {schema}.skips s
     WHERE s.stream_id = $3 AND s.projection = $1 AND s.generation = $2
     ORDER BY s.version
     LIMIT 1 OFFSET $4",
);
