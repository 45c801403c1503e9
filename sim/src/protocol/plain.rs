//! The plain store: an event store with an inline projection, as small as the known-bad protocols need it.
//!
//! An append bumps its stream's row, inserts its events, reads the projection's state, applies its events inline if that is `live`,
//! and commits. A rebuild replays in passes: take a snapshot S', replay what is visible in S' and not in the last one, keep S'.
//! A stream's appends are serialised by its row, so a pass sees a prefix of each stream and misses nothing; whatever a protocol on this
//! store loses, it loses by how its rebuild starts or ends.
//!
//! Two pieces are right, and used by whoever's story is about the other end: [`Plain::start_locked`] and [`Plain::end_locked`] keep
//! all appends out by a table lock. (It is what skip records make unnecessary: behind it, every append waits.)

use skiptrace::{DbError, Session as _, Statement, Value};

use super::records::{Records, has_records};
use crate::backend::Layout;
use crate::exec::SimSession;
use crate::scenario::AppendSpec;

/// The statements that all protocols on the plain store share.
pub(super) struct Plain {
    begin: Statement,
    commit: Statement,
    roll_back: Statement,
    bump_stream: Statement,
    insert_events: Statement,
    read_state: Statement,
    apply_inline: Statement,
    find_append: Statement,
    lock_events: Statement,
    set_building: Statement,
    forget_snapshot: Statement,
    truncate: Statement,
    take_snapshot: Statement,
    replay: Statement,
    keep_snapshot: Statement,
    set_live: Statement,
    oldest_running: Statement,
}

/// `records`: with a table of skip records.
pub(super) fn layout(streams: Vec<String>, records: bool) -> Layout {
    let mut setup = [
        "CREATE SCHEMA plain",
        "CREATE TABLE plain.streams (stream_id text PRIMARY KEY, version bigint NOT NULL)",
        "CREATE TABLE plain.events (position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream_id text NOT NULL, \
         version bigint NOT NULL, append_id text NOT NULL, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), \
         UNIQUE (stream_id, version))",
        "CREATE TABLE plain.generations (generation bigint PRIMARY KEY, state text NOT NULL, checkpoint text NOT NULL, \
         epoch bigint NOT NULL DEFAULT 0)",
        "CREATE TABLE plain.applied (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, stream_id text NOT NULL, \
         version bigint NOT NULL)",
        "INSERT INTO plain.generations (generation, state, checkpoint) VALUES (1, 'live', '1:1:')",
    ]
    .map(str::to_owned)
    .to_vec();
    setup.extend(records.then(|| Records::TABLE.to_owned()));
    Layout {
        setup,
        streams,
        events: "plain.events".to_owned(),
        applied: "plain.applied".to_owned(),
        skips: records.then(|| "plain.skips".to_owned()),
        generations: "plain.generations".to_owned(),
    }
}

impl Plain {
    pub(super) fn new() -> Self {
        let statement = Statement::new;
        Self {
            begin: statement("begin", "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
            commit: statement("commit", "COMMIT"),
            roll_back: statement("roll_back", "ROLLBACK"),
            bump_stream: statement(
                "append.bump_stream",
                "INSERT INTO plain.streams AS s (stream_id, version) VALUES ($1, $2) \
                 ON CONFLICT (stream_id) DO UPDATE SET version = s.version + EXCLUDED.version RETURNING version",
            ),
            insert_events: statement(
                "append.insert_events",
                "INSERT INTO plain.events (stream_id, version, append_id) \
                 SELECT $1::text, v, $4::text FROM generate_series($2::bigint, $3::bigint) AS v",
            ),
            read_state: statement("append.read_state", "SELECT state FROM plain.generations"),
            apply_inline: statement(
                "append.apply_inline",
                "INSERT INTO plain.applied (stream_id, version) \
                 SELECT $1::text, v FROM generate_series($2::bigint, $3::bigint) AS v",
            ),
            find_append: statement(
                "append.find",
                "SELECT count(*) FROM plain.events WHERE stream_id = $1 AND append_id = $2",
            ),
            lock_events: statement("rebuild.keep_appends_out", "LOCK TABLE plain.events IN EXCLUSIVE MODE"),
            set_building: statement("rebuild.set_building", "UPDATE plain.generations SET state = 'building'"),
            forget_snapshot: statement("rebuild.forget_snapshot", "UPDATE plain.generations SET checkpoint = '1:1:'"),
            truncate: statement("rebuild.truncate", "TRUNCATE plain.applied"),
            take_snapshot: statement(
                "rebuild.take_snapshot",
                "SELECT checkpoint, pg_current_snapshot()::text FROM plain.generations",
            ),
            replay: statement(
                "rebuild.replay",
                "INSERT INTO plain.applied (stream_id, version) SELECT stream_id, version FROM plain.events \
                 WHERE pg_visible_in_snapshot(xid, $2::text::pg_snapshot) \
                 AND NOT pg_visible_in_snapshot(xid, $1::text::pg_snapshot) ORDER BY position",
            ),
            keep_snapshot: statement("rebuild.keep_snapshot", "UPDATE plain.generations SET checkpoint = $1"),
            set_live: statement("rebuild.set_live", "UPDATE plain.generations SET state = 'live'"),
            oldest_running: statement(
                "rebuild.have_ended",
                "SELECT pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8",
            ),
        }
    }

    pub(super) async fn begin(&self, session: &mut SimSession) -> Result<(), DbError> {
        session.execute(&self.begin, &[]).await.map(drop)
    }

    pub(super) async fn commit(&self, session: &mut SimSession) -> Result<(), DbError> {
        session.execute(&self.commit, &[]).await.map(drop)
    }

    pub(super) async fn roll_back(&self, session: &mut SimSession) -> Result<(), DbError> {
        session.execute(&self.roll_back, &[]).await.map(drop)
    }

    /// An append. `is_live` reads the state, and does what the protocol does before it is acted on; `apply` applies the events `$1`, `$2..=$3`
    /// inline; what is not applied goes into `records`.
    pub(super) async fn append(
        &self,
        session: &mut SimSession,
        append: &Append,
        is_live: impl AsyncFnOnce(&mut SimSession) -> Result<bool, DbError>,
        apply: impl AsyncFnOnce(&mut SimSession, &[Value]) -> Result<(), DbError>,
        records: Option<&Records>,
    ) -> Result<(), DbError> {
        let Append { stream, events, id } = append;
        self.begin(session).await?;
        let bumped = session.execute(&self.bump_stream, &[stream.clone(), (*events).into()]).await?;
        let last = bumped.rows.row(0).int(0);
        let first = last - events + 1;
        session.execute(&self.insert_events, &[stream.clone(), first.into(), last.into(), id.clone()]).await?;
        let applies = is_live(session).await? && !has_records(records, session, stream).await?;
        let events = [stream.clone(), first.into(), last.into()];
        if applies {
            apply(session, &events).await?;
        } else if let Some(records) = records {
            session.execute(&records.record, &events).await?;
        }
        self.commit(session).await
    }

    /// Whether an append is committed.
    pub(super) async fn is_appended(&self, session: &mut SimSession, append: &Append) -> Result<bool, DbError> {
        let found = session.execute(&self.find_append, &[append.stream.clone(), append.id.clone()]).await?;
        Ok(found.rows.row(0).int(0) > 0)
    }

    pub(super) async fn is_live(&self, session: &mut SimSession) -> Result<bool, DbError> {
        let state = session.execute(&self.read_state, &[]).await?;
        Ok(&**state.rows.row(0).text(0) == "live")
    }

    pub(super) async fn apply_inline(&self, session: &mut SimSession, events: &[Value]) -> Result<(), DbError> {
        session.execute(&self.apply_inline, events).await.map(drop)
    }

    /// The start that is right: no append is under way when the state changes and the read model is emptied.
    pub(super) async fn start_locked(&self, session: &mut SimSession) -> Result<(), DbError> {
        self.begin(session).await?;
        self.start_over(session).await?;
        self.commit(session).await
    }

    /// The same, in the transaction that is open.
    pub(super) async fn start_over(&self, session: &mut SimSession) -> Result<(), DbError> {
        session.execute(&self.lock_events, &[]).await?;
        self.start(session).await?;
        self.truncate(session).await
    }

    /// The start alone: the state changes, and whoever has read the old one goes on.
    pub(super) async fn start_unguarded(&self, session: &mut SimSession) -> Result<(), DbError> {
        self.begin(session).await?;
        self.start(session).await?;
        self.commit(session).await
    }

    /// What every start does, in the transaction that is open.
    pub(super) async fn start(&self, session: &mut SimSession) -> Result<(), DbError> {
        session.execute(&self.set_building, &[]).await?;
        session.execute(&self.forget_snapshot, &[]).await.map(drop)
    }

    pub(super) async fn truncate(&self, session: &mut SimSession) -> Result<(), DbError> {
        session.execute(&self.truncate, &[]).await.map(drop)
    }

    /// Passes until one has found nothing.
    pub(super) async fn catch_up(&self, session: &mut SimSession, records: Option<&Records>) -> Result<(), DbError> {
        loop {
            self.begin(session).await?;
            let replay = records.map_or(&self.replay, |records| &records.replay);
            let replayed = self.pass_with(session, replay, &[]).await?;
            self.commit(session).await?;
            if replayed == 0 {
                return Ok(());
            }
        }
    }

    /// One pass, in the transaction that is open. How many events it replayed.
    pub(super) async fn pass(&self, session: &mut SimSession) -> Result<u64, DbError> {
        self.pass_with(session, &self.replay, &[]).await
    }

    /// One pass by a replay statement of the protocol's own: `$1` the last snapshot, `$2` this one, then `more`.
    pub(super) async fn pass_with(
        &self,
        session: &mut SimSession,
        replay: &Statement,
        more: &[Value],
    ) -> Result<u64, DbError> {
        let taken = session.execute(&self.take_snapshot, &[]).await?;
        let snapshot = taken.rows.row(0).value(1).clone();
        let mut params = vec![taken.rows.row(0).value(0).clone(), snapshot.clone()];
        params.extend_from_slice(more);
        let replayed = session.execute(replay, &params).await?;
        session.execute(&self.keep_snapshot, &[snapshot]).await?;
        Ok(replayed.affected)
    }

    pub(super) async fn set_live(&self, session: &mut SimSession) -> Result<(), DbError> {
        session.execute(&self.set_live, &[]).await.map(drop)
    }

    /// The end that is right: with all appends kept out, a last pass, and live.
    pub(super) async fn end_locked(&self, session: &mut SimSession) -> Result<(), DbError> {
        self.begin(session).await?;
        self.end_now(session).await?;
        self.commit(session).await
    }

    /// The same, in the transaction that is open.
    pub(super) async fn end_now(&self, session: &mut SimSession) -> Result<(), DbError> {
        session.execute(&self.lock_events, &[]).await?;
        self.pass(session).await?;
        self.set_live(session).await
    }

    /// Waits until no transaction below `xid` is running.
    pub(super) async fn wait_until_ended(&self, session: &mut SimSession, xid: &Value) -> Result<(), DbError> {
        loop {
            let ended = session.execute(&self.oldest_running, std::slice::from_ref(xid)).await?;
            if ended.rows.row(0).bool(0) {
                return Ok(());
            }
            session.pause(super::POLL).await;
        }
    }
}

/// An append, with its parameters made.
pub(super) struct Append {
    stream: Value,
    events: i64,
    id: Value,
}

impl Append {
    /// Append `number` of `actor`.
    pub(super) fn new(actor: u8, number: usize, append: &AppendSpec) -> Self {
        Self {
            stream: Value::from(append.stream.as_str()),
            events: append.events.into(),
            id: Value::from(format!("a{actor}.{number}").as_str()),
        }
    }
}
