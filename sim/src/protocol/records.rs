//! Skip records for the [plain store](super::plain): the same cure as the core's, as small as the known-bad protocols need it.
//!
//! An append that does not apply its events records that in its own transaction. A pass takes away the records of what it replays; a
//! drain locks the stream, takes its records and applies their events. Nobody keeps appends out at the end, since what straddles
//! it is recorded.

use skiptrace::{DbError, Session as _, Statement, Value};

use super::plain::Plain;
use crate::exec::SimSession;

/// The statements about skip records.
pub(super) struct Records {
    pub(super) record: Statement,
    /// Asks whether a stream has records, so that nothing is applied before them; none where nobody asks.
    pub(super) gate: Option<Statement>,
    pub(super) replay: Statement,
    find: Statement,
    lock_stream: Statement,
    keep_starts_out: Statement,
    claim: Statement,
}

impl Records {
    pub(super) const TABLE: &str = "CREATE TABLE plain.skips (stream_id text NOT NULL, version bigint NOT NULL, \
         generation bigint NOT NULL, PRIMARY KEY (stream_id, version))";

    /// With appends that look at them before they apply anything.
    pub(super) fn gated() -> Self {
        let gate = "SELECT count(*) FROM plain.skips WHERE stream_id = $1";
        Self { gate: Some(Statement::new("append.find_records", gate)), ..Self::ungated() }
    }

    /// With appends that do not.
    pub(super) fn ungated() -> Self {
        let statement = Statement::new;
        Self {
            record: statement(
                "append.record_skip",
                "INSERT INTO plain.skips (stream_id, version, generation) \
                 SELECT $1::text, v, 1 FROM generate_series($2::bigint, $3::bigint) AS v",
            ),
            gate: None,
            replay: statement(
                "rebuild.replay_recorded",
                "WITH replayed AS MATERIALIZED ( \
                     SELECT e.stream_id, e.version, e.position FROM plain.events e \
                     WHERE pg_visible_in_snapshot(e.xid, $2::text::pg_snapshot) \
                     AND NOT pg_visible_in_snapshot(e.xid, $1::text::pg_snapshot) \
                 ), gone AS ( \
                     DELETE FROM plain.skips s USING replayed r WHERE s.stream_id = r.stream_id AND s.version = r.version \
                 ) \
                 INSERT INTO plain.applied (stream_id, version) \
                 SELECT r.stream_id, r.version FROM replayed r ORDER BY r.position",
            ),
            find: statement("drain.find", "SELECT DISTINCT stream_id FROM plain.skips ORDER BY stream_id"),
            lock_stream: statement(
                "drain.lock_stream",
                "SELECT version FROM plain.streams WHERE stream_id = $1 FOR UPDATE",
            ),
            keep_starts_out: statement("drain.keep_starts_out", "LOCK TABLE plain.events IN ROW EXCLUSIVE MODE"),
            claim: statement(
                "drain.claim",
                "WITH claimed AS ( \
                     DELETE FROM plain.skips s USING plain.generations g WHERE s.stream_id = $1 AND g.state = 'live' \
                     RETURNING s.stream_id, s.version \
                 ) \
                 INSERT INTO plain.applied (stream_id, version) \
                 SELECT c.stream_id, c.version FROM claimed c ORDER BY c.version",
            ),
        }
    }

    /// A last pass and live, with appends going on.
    pub(super) async fn end(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        plain.begin(session).await?;
        plain.pass_with(session, &self.replay, &[]).await?;
        plain.set_live(session).await?;
        plain.commit(session).await
    }

    /// Drains every stream that has records, each in a transaction.
    pub(super) async fn drain(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        let found = session.execute(&self.find, &[]).await?;
        for row in found.rows.iter() {
            let stream = [row.value(0).clone()];
            plain.begin(session).await?;
            session.execute(&self.lock_stream, &stream).await?;
            session.execute(&self.keep_starts_out, &[]).await?;
            session.execute(&self.claim, &stream).await?;
            plain.commit(session).await?;
        }
        Ok(())
    }
}

/// Whether a stream has records that must be applied first, as far as anybody asks.
pub(super) async fn has_records(
    records: Option<&Records>,
    session: &mut SimSession,
    stream: &Value,
) -> Result<bool, DbError> {
    let Some(gate) = records.and_then(|records| records.gate.as_ref()) else { return Ok(false) };
    let found = session.execute(gate, std::slice::from_ref(stream)).await?;
    Ok(found.rows.row(0).int(0) > 0)
}
