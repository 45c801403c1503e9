//! Known-bad protocols, one file each, on the [plain store](super::plain); and one that is right by a fence, beside the two
//! starts that are wrong without.
//!
//! Each is wrong in one place, which is what its scenario convicts it of.

mod dead_letter_after_rollback;
mod drain_once;
mod lock_and_read;
mod lock_the_flip;
mod naive;
mod plain_read_epoch;
mod start_race_fenced;
mod start_race_naive;
mod ungated_drain_order;
mod wait_for_running;
mod xid_boundary;
mod xmax_fence;

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;

use skiptrace::{DbError, Session as _, Value};

use super::client::{Store, append_all, until_done};
use super::plain::{self, Append, Plain};
use super::records::Records;
use super::{Bound, Protocol, streams};
use crate::backend::Layout;
use crate::exec::executor::Body;
use crate::exec::{ActorContext, SimSession};
use crate::scenario::{Role, Scenario};

/// How a protocol rebuilds on the plain store.
pub(super) trait Way: 'static {
    const NAME: &'static str;
    const SUMMARY: &'static str;
    /// Whether there is a table of skip records.
    const RECORDS: bool = false;

    fn new() -> Self;

    /// A rebuild; one that is found under way is carried on.
    async fn rebuild(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        if plain.is_live(session).await? {
            self.start(plain, session).await?;
        }
        plain.catch_up(session, self.records()).await?;
        self.end(plain, session).await
    }

    /// How a rebuild starts. `start_locked` is right.
    async fn start(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        plain.start_locked(session).await
    }

    /// How a rebuild that has caught up ends. `end_locked` is right.
    async fn end(&self, plain: &Plain, session: &mut SimSession) -> Result<(), DbError> {
        plain.end_locked(session).await
    }

    /// Whether an append applies inline; what it sends to know that, and before it acts on it.
    async fn is_live(&self, plain: &Plain, session: &mut SimSession) -> Result<bool, DbError> {
        plain.is_live(session).await
    }

    /// How an append applies its events inline.
    async fn apply(&self, plain: &Plain, session: &mut SimSession, events: &[Value]) -> Result<(), DbError> {
        plain.apply_inline(session, events).await
    }

    /// What an append does with events that it does not apply, and a drain later.
    fn records(&self) -> Option<&Records> {
        None
    }
}

type Work<'w, T> = Pin<Box<dyn Future<Output = Result<T, DbError>> + 'w>>;

/// Any [`Way`]: what is done with one is compiled once, not for each.
trait AnyWay {
    fn rebuild<'w>(&'w self, plain: &'w Plain, session: &'w mut SimSession) -> Work<'w, ()>;
    fn is_live<'w>(&'w self, plain: &'w Plain, session: &'w mut SimSession) -> Work<'w, bool>;
    fn apply<'w>(&'w self, plain: &'w Plain, session: &'w mut SimSession, events: &'w [Value]) -> Work<'w, ()>;
    fn records(&self) -> Option<&Records>;
}

impl<W: Way> AnyWay for W {
    fn rebuild<'w>(&'w self, plain: &'w Plain, session: &'w mut SimSession) -> Work<'w, ()> {
        Box::pin(Way::rebuild(self, plain, session))
    }

    fn is_live<'w>(&'w self, plain: &'w Plain, session: &'w mut SimSession) -> Work<'w, bool> {
        Box::pin(Way::is_live(self, plain, session))
    }

    fn apply<'w>(&'w self, plain: &'w Plain, session: &'w mut SimSession, events: &'w [Value]) -> Work<'w, ()> {
        Box::pin(Way::apply(self, plain, session, events))
    }

    fn records(&self) -> Option<&Records> {
        Way::records(self)
    }
}

/// A protocol on the plain store.
pub(super) struct OnPlain<W>(PhantomData<fn() -> W>);

impl<W> OnPlain<W> {
    const fn new() -> Self {
        Self(PhantomData)
    }
}

pub(super) const ALL: [&dyn Protocol; 12] = [
    &OnPlain::<naive::Naive>::new(),
    &OnPlain::<wait_for_running::WaitForRunning>::new(),
    &OnPlain::<xid_boundary::XidBoundary>::new(),
    &OnPlain::<lock_the_flip::LockTheFlip>::new(),
    &OnPlain::<start_race_naive::StartRaceNaive>::new(),
    &OnPlain::<lock_and_read::LockAndRead>::new(),
    &OnPlain::<xmax_fence::XmaxFence>::new(),
    &OnPlain::<start_race_fenced::StartRaceFenced>::new(),
    &OnPlain::<plain_read_epoch::PlainReadEpoch>::new(),
    &OnPlain::<ungated_drain_order::UngatedDrainOrder>::new(),
    &OnPlain::<drain_once::DrainOnce>::new(),
    &OnPlain::<dead_letter_after_rollback::DeadLetterAfterRollback>::new(),
];

impl<W: Way> Protocol for OnPlain<W> {
    fn name(&self) -> &'static str {
        W::NAME
    }

    fn summary(&self) -> &'static str {
        W::SUMMARY
    }

    fn layout(&self, scenario: &Scenario) -> Layout {
        plain::layout(streams(scenario), W::RECORDS)
    }

    fn bind(&self, scenario: &Scenario) -> Rc<dyn Bound> {
        let appends = (0..).zip(&scenario.actors).map(|(actor, spec)| appends_of(actor, &spec.role)).collect();
        Rc::new(BoundWay { plain: Plain::new(), way: Box::new(W::new()), appends })
    }
}

struct BoundWay {
    plain: Plain,
    way: Box<dyn AnyWay>,
    /// By actor, in order.
    appends: Vec<Vec<Append>>,
}

fn appends_of(actor: u8, role: &Role) -> Vec<Append> {
    let Role::Appender { appends } = role else { return Vec::new() };
    appends.iter().enumerate().map(|(number, append)| Append::new(actor, number, append)).collect()
}

impl Store for BoundWay {
    async fn append(&self, session: &mut SimSession, actor: u8, number: usize) -> Result<(), DbError> {
        let append = &self.appends[usize::from(actor)][number];
        let is_live = async |session: &mut SimSession| self.way.is_live(&self.plain, session).await;
        let apply =
            async |session: &mut SimSession, events: &[Value]| self.way.apply(&self.plain, session, events).await;
        self.plain.append(session, append, is_live, apply, self.way.records()).await
    }

    async fn is_appended(&self, session: &mut SimSession, actor: u8, number: usize) -> Result<bool, DbError> {
        self.plain.is_appended(session, &self.appends[usize::from(actor)][number]).await
    }
}

impl Bound for BoundWay {
    fn start(self: Rc<Self>, role: Rc<Role>, context: ActorContext) -> Body {
        Box::pin(async move {
            match &*role {
                Role::Appender { appends } => append_all(&*self, appends.len(), &context).await,
                Role::Rebuilder { rebuilds, .. } => {
                    for _ in context.acknowledged()..*rebuilds {
                        until_done(&context, async |session| self.way.rebuild(&self.plain, session).await).await?;
                        context.acknowledge();
                    }
                    Ok(())
                }
                Role::Drainer { passes } => self.drain(*passes, &context).await,
            }
        })
    }
}

impl BoundWay {
    async fn drain(&self, passes: u32, context: &ActorContext) -> Result<(), DbError> {
        // Where nothing is recorded there is nothing to drain.
        let Some(records) = self.way.records() else { return Ok(()) };
        for _ in 0..passes {
            if context.others_are_done() {
                break;
            }
            until_done(context, async |session| {
                session.pause(super::POLL).await;
                records.drain(&self.plain, session).await
            })
            .await?;
        }
        context.others_done().await;
        until_done(context, async |session| records.drain(&self.plain, session).await).await
    }
}
