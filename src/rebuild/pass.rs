//! Passes: replaying what one snapshot sees and the checkpoint does not, in batches, by position.
//!
//! Appends to a stream take turns, so a snapshot sees a *prefix* of each stream, and in a stream positions rise with
//! versions: by position, each stream is replayed in its order, nothing is missed, and nothing waits for a horizon. What is
//! committed after the snapshot has a skip record, as long as the snapshot was taken after the fence.
//!
//! # Why a batch locks no stream
//! Whoever works on a stream locks its row first; a batch is the exception, because nothing that it reads or writes can be
//! changed by those who hold such a lock:
//!
//! - It works on a *building* generation. Appends never apply to one, and drains leave its skip records alone, so no one else
//!   writes its read model, and no one else deletes its skip records.
//! - Appends do *insert* skip records for it, of events that were not committed when the pass's snapshot was taken. The
//!   batch applies events that the snapshot sees, and of these all lower versions are seen too: neither the
//!   records that it archives nor those that could hold an event back are among the ones being inserted.
//! - Other rebuilders of the projection are held off by the guard on the progress row, which the batch locks first and keeps.
//! - The cutover makes the generation live in the same transaction: appends and drains see all that the batch did, or a building
//!   generation. An append that read *building* and commits after the cutover has recorded a skip; the next append to its
//!   stream waits for it, then finds the record pending.
//! - A fence of a later rebuild need not see a batch: that rebuild's start has to pass the progress row first, or finds this
//!   one's generation done.
//!
//! So a batch never waits for an append, nor an append for a batch; and there can be no deadlock between the two. With a
//! lock on each stream, appends would wait for a whole batch, and a batch that locks in the order of positions would
//! deadlock with whoever locks several streams in another order.

use std::collections::BTreeMap;

use super::progress::{Phase, Progress};
use super::{RebuildError, RebuildReport, Rebuilder};
use crate::event::RecordedEvent;
use crate::ids::StreamId;
use crate::session::{Call, Rows, Session, Value};
use crate::transaction::Transaction;

/// What a batch found to do.
#[derive(Default)]
struct Batch {
    /// The calls that apply its events.
    calls: Vec<Call>,
    applied: u64,
    /// First and last applied version of each stream that has skip records.
    recorded: BTreeMap<StreamId, (i64, i64)>,
    held: Events,
    /// The position of its last event.
    last: Option<i64>,
}

/// Events, as the columns of a statement.
#[derive(Default)]
struct Events {
    streams: Vec<Value>,
    versions: Vec<Value>,
    positions: Vec<Value>,
}

impl Events {
    fn push(&mut self, event: &RecordedEvent) {
        self.streams.push(Value::Text(event.stream_id.shared()));
        self.versions.push(Value::Int(event.version.get()));
        self.positions.push(Value::Int(event.position.get()));
    }
}

/// Replays the next batch, in one transaction; with the pass's first one begins the pass, with its last one ends it, with the last
/// pass's the rebuild.
pub(super) async fn batch<S: Session>(
    rebuilder: &Rebuilder,
    session: &mut S,
    progress: &mut Progress,
    report: &mut RebuildReport,
) -> Result<(), RebuildError> {
    let sql = rebuilder.sql();
    // What the row is once this is committed.
    let mut next = progress.clone();
    let (mut transaction, rows) = read(rebuilder, session, &mut next).await?;
    let batch = match plan(rebuilder, &rows) {
        Ok(batch) => batch,
        Err(error) => {
            transaction.rollback().await.ok();
            return Err(error);
        }
    };
    let pass_ends = rows.len() < rebuilder.options.batch_events as usize;
    let last_pass = next.batches == 0 || next.pass >= i64::from(rebuilder.options.passes_max);
    let (applied, held, last) = (batch.applied, batch.held.streams.len() as u64, batch.last);
    let mut calls = writes(rebuilder, &next, batch);
    let generation = [rebuilder.name(), Value::Int(next.generation)];
    match last {
        _ if pass_ends && last_pass => {
            calls.push(Call::new(&sql.finish, generation.clone()));
            calls.push(Call::new(&sql.go_live, generation));
            let answers = transaction.send(calls).await?;
            if answers.last().map(|answer| answer.affected) != Some(1) {
                transaction.rollback().await?;
                return Err(RebuildError::NotBuilding(report.generation));
            }
            transaction.commit(Vec::new()).await?;
            next.phase = Phase::Done;
        }
        _ if pass_ends => {
            calls.push(Call::new(&sql.end_pass, generation));
            transaction.commit(calls).await?;
            next.cursor = next.pass_end;
            next.checkpoint = next.pass_snapshot.take().expect("a batch is of a pass");
        }
        last => {
            let last = last.expect("a full batch has a last event");
            calls.push(Call::new(&sql.advance, generation.into_iter().chain([Value::Int(last)]).collect::<Vec<_>>()));
            transaction.commit(calls).await?;
            next.cursor = last;
        }
    }
    next.batches += 1;
    *progress = next;
    report.batches += 1;
    report.applied += applied;
    report.held += held;
    Ok(())
}

/// Begins a batch's transaction and reads its events.
async fn read<'a, S: Session>(
    rebuilder: &'a Rebuilder,
    session: &'a mut S,
    progress: &mut Progress,
) -> Result<(Transaction<'a, S>, Rows), RebuildError> {
    let control = rebuilder.store.control();
    if progress.pass_snapshot.is_none() {
        let (mut transaction, answers) =
            Transaction::begin(session, control, [begin_pass(rebuilder, progress)]).await?;
        let Some(row) = answers[0].rows.first() else { return taken_over(transaction).await };
        progress.pass = row.int(0);
        progress.pass_snapshot = Some(row.text(1).clone());
        progress.cursor = row.int(2);
        progress.pass_end = row.int(3);
        progress.batches = 0;
        let mut answers = transaction.send(vec![read_batch(rebuilder, progress)]).await?;
        return Ok((transaction, answers.remove(0).rows));
    }
    let guard = Call::new(&rebuilder.sql().guard, rebuilder.guard(progress));
    let (transaction, mut answers) =
        Transaction::begin(session, control, [guard, read_batch(rebuilder, progress)]).await?;
    if answers[0].rows.is_empty() {
        return taken_over(transaction).await;
    }
    Ok((transaction, answers.remove(1).rows))
}

/// The guard found no row.
async fn taken_over<T, S: Session>(transaction: Transaction<'_, S>) -> Result<T, RebuildError> {
    transaction.rollback().await?;
    Err(RebuildError::TakenOver)
}

/// The next pass, and its snapshot, which is that of this statement. It is younger than the fence, because the fence had been
/// committed *and answered* when the statement was sent; what the row says would not prove that, since it may be younger than the
/// snapshot. Nothing is replayed under it that is not committed with it.
fn begin_pass(rebuilder: &Rebuilder, progress: &Progress) -> Call {
    assert!(progress.fenced, "a pass before the fence could not be the last one");
    let mut params = progress.guard(rebuilder.name());
    params.push(Value::Text(progress.checkpoint.clone()));
    params.push(rebuilder.idle_max.clone());
    Call::new(&rebuilder.sql().begin_pass, params)
}

fn read_batch(rebuilder: &Rebuilder, progress: &Progress) -> Call {
    let snapshot = progress.pass_snapshot.as_ref().expect("a batch is of a pass");
    Call::new(
        &rebuilder.sql().read_batch,
        [
            rebuilder.name(),
            Value::Int(progress.generation),
            Value::Int(progress.cursor),
            Value::Int(progress.pass_end),
            Value::Text(snapshot.clone()),
            Value::Text(progress.checkpoint.clone()),
            Value::Int(rebuilder.options.batch_events.into()),
        ],
    )
}

/// Decides, by the rule, which of the events are applied: from what the transaction has just read, never from memory.
///
/// A record of a lower version holds an event back, unless the event of that record is applied before it in this very batch.
/// The first event that a batch has of a stream decides for all of them: what is between it and the later ones is in the batch.
fn plan(rebuilder: &Rebuilder, rows: &Rows) -> Result<Batch, RebuildError> {
    let mut batch = Batch::default();
    let mut held: BTreeMap<StreamId, bool> = BTreeMap::new();
    let mut events = Vec::with_capacity(rows.len());
    for row in rows.iter() {
        let event = RecordedEvent::from_row(row);
        batch.last = Some(event.position.get());
        let has_records = !row.is_null(7);
        let is_held =
            has_records && *held.entry(event.stream_id.clone()).or_insert_with(|| row.int(7) < event.version.get());
        if is_held {
            batch.held.push(&event);
            continue;
        }
        if has_records {
            let version = event.version.get();
            batch.recorded.entry(event.stream_id.clone()).or_insert((version, version)).1 = version;
        }
        events.push(event);
    }
    let applied = rebuilder.registered().projection.apply_all(&events, &mut batch.calls);
    applied.map_err(|(index, error)| RebuildError::Apply {
        stream: events[index].stream_id.clone(),
        version: events[index].version,
        error,
    })?;
    batch.applied = events.len() as u64;
    Ok(batch)
}

/// The batch's calls, all but the progress.
fn writes(rebuilder: &Rebuilder, progress: &Progress, batch: Batch) -> Vec<Call> {
    let sql = rebuilder.sql();
    let Batch { mut calls, recorded, held, .. } = batch;
    let generation = [rebuilder.name(), Value::Int(progress.generation)];
    for (stream, (first, last)) in recorded {
        let events = [Value::Text(stream.shared()), Value::Int(first), Value::Int(last)];
        calls.push(Call::new(&sql.archive_applied, generation.iter().cloned().chain(events).collect::<Vec<_>>()));
    }
    if !held.streams.is_empty() {
        let columns = [held.streams, held.versions, held.positions].map(Value::from);
        calls.push(Call::new(&sql.hold, generation.into_iter().chain(columns).collect::<Vec<_>>()));
    }
    calls
}
