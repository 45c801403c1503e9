//! The statements of a rebuild. Each write of one begins with a write to its progress that is guarded by epoch, pass
//! and cursor: no row means that somebody else has taken the rebuild over, and nothing may follow.

use crate::statements::Text;

/// Continues a rebuild: the new epoch makes whoever was at work a zombie.
pub(crate) const TAKE_OVER: Text = (
    "rebuild.take_over",
    "UPDATE {schema}.rebuild_progress p SET epoch = p.epoch + 1, updated_at = now()
     FROM {schema}.generations g
     WHERE p.projection = $1 AND p.phase NOT IN ('done', 'abandoned')
       AND g.projection = p.projection AND g.generation = p.generation
     RETURNING p.generation, p.phase, p.fenced, p.epoch, p.pass, p.checkpoint::text, p.pass_snapshot::text, p.cursor,
               p.pass_end, g.handler_version",
);

/// Restart, first: nobody who works on the open rebuild can write any more.
pub(crate) const ABANDON_PROGRESS: Text = (
    "rebuild.abandon_progress",
    "UPDATE {schema}.rebuild_progress SET phase = 'abandoned', epoch = epoch + 1, updated_at = now()
     WHERE projection = $1 AND phase NOT IN ('done', 'abandoned')",
);

/// Restart, then.
pub(crate) const ABANDON_GENERATION: Text = (
    "rebuild.abandon_generation",
    "UPDATE {schema}.generations SET state = 'abandoned' WHERE projection = $1 AND state = 'building'",
);

/// In place, the old generation ends when the new one begins: they share their storage.
pub(crate) const RETIRE: Text =
    ("rebuild.retire", "UPDATE {schema}.generations SET state = 'retired' WHERE projection = $1 AND state = 'live'");

/// A number is never used again. No row: somebody else has begun one.
pub(crate) const OPEN_GENERATION: Text = (
    "rebuild.open_generation",
    "WITH opened AS (
         INSERT INTO {schema}.generations (projection, generation, state, handler_version)
         SELECT $1, coalesce(max(g.generation), 0) + 1, 'building', $2
         FROM {schema}.generations g WHERE g.projection = $1
         ON CONFLICT DO NOTHING
         RETURNING projection, generation
     )
     INSERT INTO {schema}.rebuild_progress (projection, generation, phase)
     SELECT projection, generation, 'fencing' FROM opened
     RETURNING generation, epoch",
);

/// The transactions that may have read the states as they were: those that hold a lock on `streams` and an xid. One
/// reading of `pg_locks`; relations of other databases can have the same number. `locktype`, because from PostgreSQL 16 on the
/// token of a speculative insertion (`INSERT .. ON CONFLICT`, while it puts its row into the indexes) tells the inserter's xid, too: it
/// would be listed twice.
pub(crate) const LIST_FENCE: Text = (
    "rebuild.list_fence",
    "WITH l AS MATERIALIZED (
         SELECT locktype, database, transactionid, virtualtransaction, pid, mode FROM pg_locks
         WHERE granted AND (transactionid IS NOT NULL OR relation = '{schema_in_literal}.streams'::regclass)
     )
     SELECT x.transactionid::text::bigint AS xid, x.pid
     FROM l AS x
     WHERE x.locktype = 'transactionid'
       AND x.mode = 'ExclusiveLock'
       AND x.virtualtransaction = ANY (ARRAY(
           SELECT t.virtualtransaction
           FROM l AS t
           WHERE t.locktype = 'relation'
             AND t.mode IN ('RowExclusiveLock', 'RowShareLock')
             AND t.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
       ))
     ORDER BY xid",
);

/// Which of the xids `$1` are still held.
pub(crate) const POLL_FENCE: Text = (
    "rebuild.poll_fence",
    "SELECT l.transactionid::text::bigint AS xid, l.pid
     FROM pg_locks l
     WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted
       AND l.transactionid::text::bigint = ANY ($1::bigint[])
     ORDER BY xid",
);

/// Comes before the TRUNCATE, in its transaction: the fence has passed. `$1` projection, `$2` generation, `$3` epoch, `$4` pass, `$5`
/// cursor, here and below. `$6`: see [`GUARD`]. The lock timeout is above the default `deadlock_timeout` (1 s), so that a deadlock is
/// found and named before it ends the wait.
pub(crate) const ENTER_REPLAY: Text = (
    "rebuild.enter_replay",
    "UPDATE {schema}.rebuild_progress SET fenced = true, phase = 'replaying', updated_at = now()
     WHERE projection = $1 AND generation = $2 AND epoch = $3 AND pass = $4 AND cursor = $5 AND phase = 'fencing'
     RETURNING set_config('idle_in_transaction_session_timeout', $6, true), set_config('lock_timeout', '2s', true)",
);

/// The first statement of a pass's first batch. Writes the pass's snapshot, and the positions between which what the pass
/// owes must lie. What this statement sees is what the snapshot sees: they are one. `$6` is the checkpoint; `$7`: see [`GUARD`].
/// `OFFSET 0`, because `min` and `max` would else be looked up in the index by position, past all that is not owed.
pub(crate) const BEGIN_PASS: Text = (
    "rebuild.begin_pass",
    "UPDATE {schema}.rebuild_progress p
     SET pass = p.pass + 1, pass_snapshot = pg_current_snapshot(), cursor = r.before, pass_end = r.last, updated_at = now()
     FROM (
         SELECT coalesce(min(o.position) - 1, 0) AS before, coalesce(max(o.position), 0) AS last
         FROM (
             SELECT e.position FROM {schema}.events e
             WHERE e.xid >= pg_snapshot_xmax($6::text::pg_snapshot)
                OR e.xid = ANY (ARRAY(SELECT x.xid FROM pg_snapshot_xip($6::text::pg_snapshot) AS x (xid)))
             OFFSET 0
         ) AS o
     ) AS r
     WHERE p.projection = $1 AND p.generation = $2 AND p.epoch = $3 AND p.pass = $4 AND p.cursor = $5
       AND p.phase = 'replaying'
     RETURNING p.pass, p.pass_snapshot::text, p.cursor, p.pass_end,
               set_config('idle_in_transaction_session_timeout', $7, true)",
);

/// The first statement of any other batch. It holds the row that a takeover needs, so a batch that stalls must not last: the server ends its
/// session after `$6`.
pub(crate) const GUARD: Text = (
    "rebuild.guard",
    "UPDATE {schema}.rebuild_progress SET updated_at = now()
     WHERE projection = $1 AND generation = $2 AND epoch = $3 AND pass = $4 AND cursor = $5 AND phase = 'replaying'
     RETURNING set_config('idle_in_transaction_session_timeout', $6, true)",
);

/// The next `$7` events after `$3`, up to `$4`, that snapshot `$5` sees and checkpoint `$6` does not, each with the lowest
/// version of its stream that has a skip record in this generation (`$1`, `$2`); that is asked once a stream: behind the dead
/// records of a hot one it is slow.
pub(crate) const READ_BATCH: Text = (
    "rebuild.read_batch",
    "WITH batch AS MATERIALIZED (
         SELECT e.stream_id, e.version, e.position, e.type, e.data, e.metadata, e.recorded_at
         FROM {schema}.events e
         WHERE e.position > $3 AND e.position <= $4
           AND pg_visible_in_snapshot(e.xid, $5::text::pg_snapshot)
           AND NOT pg_visible_in_snapshot(e.xid, $6::text::pg_snapshot)
         ORDER BY e.position
         LIMIT $7
     ), pending AS MATERIALIZED (
         SELECT d.stream_id,
                (SELECT min(s.version) FROM {schema}.skips s
                 WHERE s.stream_id = d.stream_id AND s.projection = $1 AND s.generation = $2) AS lowest
         FROM (SELECT DISTINCT b.stream_id FROM batch b) AS d
     )
     SELECT b.stream_id, b.version, b.position, b.type, b.data, b.metadata, b.recorded_at, p.lowest
     FROM batch b JOIN pending p ON p.stream_id = b.stream_id
     ORDER BY b.position",
);

/// Archives the skip records of stream `$3` from version `$4` to `$5`, which the batch has applied. One call a stream: to join
/// with a list of events, PostgreSQL may choose to read all records of the generation.
pub(crate) const ARCHIVE_APPLIED: Text = (
    "rebuild.archive_applied",
    "WITH gone AS (
         DELETE FROM {schema}.skips s
         WHERE s.stream_id = $3 AND s.projection = $1 AND s.generation = $2 AND s.version >= $4 AND s.version <= $5
         RETURNING s.stream_id, s.projection, s.generation, s.version, s.position, s.reason, s.attempts,
                   s.last_error, s.recorded_at
     )
     INSERT INTO {schema}.skip_archive
         (stream_id, projection, generation, version, position, reason, attempts, last_error, recorded_at, outcome)
     SELECT g.stream_id, g.projection, g.generation, g.version, g.position, g.reason, g.attempts, g.last_error,
            g.recorded_at, 'already_projected'
     FROM gone g",
);

/// The events (`$3`, `$4`, `$5`) that the batch must not apply, because a lower version of their stream waits.
pub(crate) const HOLD: Text = (
    "rebuild.hold",
    "INSERT INTO {schema}.skips (stream_id, projection, generation, version, position, reason)
     SELECT h.stream_id, $1, $2, h.version, h.position, 'held'
     FROM unnest($3::text[], $4::bigint[], $5::bigint[]) AS h (stream_id, version, position)
     ON CONFLICT DO NOTHING",
);

/// Moves the cursor to `$3`.
pub(crate) const ADVANCE: Text =
    ("rebuild.advance", "UPDATE {schema}.rebuild_progress SET cursor = $3 WHERE projection = $1 AND generation = $2");

/// The pass is done: its snapshot is the checkpoint.
pub(crate) const END_PASS: Text = (
    "rebuild.end_pass",
    "UPDATE {schema}.rebuild_progress SET cursor = pass_end, checkpoint = pass_snapshot, pass_snapshot = NULL
     WHERE projection = $1 AND generation = $2",
);

/// The last pass is done.
pub(crate) const FINISH: Text = (
    "rebuild.finish",
    "UPDATE {schema}.rebuild_progress
     SET cursor = pass_end, checkpoint = pass_snapshot, pass_snapshot = NULL, phase = 'done'
     WHERE projection = $1 AND generation = $2",
);

/// The cutover.
pub(crate) const GO_LIVE: Text = (
    "rebuild.go_live",
    "UPDATE {schema}.generations SET state = 'live'
     WHERE projection = $1 AND generation = $2 AND state = 'building'",
);
