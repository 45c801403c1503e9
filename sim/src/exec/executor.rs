//! Steps: one choice, its statement, and everything that it sets going.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use skiptrace::{Answer, Call, DbError, Statement, Tag};

use super::lane::{Lane, Phase, is_select};
use super::session::{ActorContext, Shared, connection_lost};
use crate::backend::{BackendError, Database, Outcome};
use crate::explore::schedule::{Act, Choice, Ready};
use crate::explore::trace::Trace;
use crate::scenario::{FaultBudget, Granularity};

/// An actor's life: done, or an error that its protocol does not cope with.
pub type Body = Pin<Box<dyn Future<Output = Result<(), DbError>>>>;

/// Who acts. Asked anew for each run, and for each actor that starts again after a crash.
pub trait Cast {
    /// How many actors there are.
    fn len(&self) -> usize;

    /// Whether there is nobody.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the others' work includes this actor's: an appender's and a rebuilder's, not a drainer's, which waits for it.
    fn works(&self, actor: usize) -> bool;

    /// A body with an empty memory.
    fn start(&self, actor: usize, context: ActorContext) -> Body;
}

/// What a step did, as far as anybody looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stepped {
    /// Bit `a`: actor `a` committed a transaction.
    pub(crate) committed: u64,
    /// The actor that crashed.
    pub(crate) crashed: Option<u8>,
    pub(crate) crashed_in_transaction: bool,
    pub(crate) answer_lost: bool,
}

/// Runs actors on a database, one choice at a time.
pub struct Executor<D> {
    database: D,
    cast: Box<dyn Cast>,
    lanes: Vec<Rc<Lane>>,
    bodies: Vec<Option<Body>>,
    shared: Rc<Shared>,
    granularity: Granularity,
    faults: FaultBudget,
    /// Transactions that have ended so far: what a pause waits for.
    ended: u64,
    gave_up: Option<(u8, DbError)>,
}

impl<D: Database> Executor<D> {
    /// An executor of `cast` on `database`, in steps of this size.
    pub fn new(database: D, cast: Box<dyn Cast>, granularity: Granularity) -> Self {
        let actors = cast.len();
        assert!(actors <= 64, "at most 64 actors, found {actors}");
        Self {
            database,
            lanes: (0..actors).map(|_| Rc::new(Lane::new())).collect(),
            bodies: (0..actors).map(|_| None).collect(),
            cast,
            shared: Rc::new(Shared {
                at_work: Cell::new(0),
                rollback: Statement::new("session.roll_back_abandoned", "ROLLBACK"),
            }),
            granularity,
            faults: FaultBudget::default(),
            ended: 0,
            gave_up: None,
        }
    }

    /// The database, to be looked at between steps.
    pub fn database(&mut self) -> &mut D {
        &mut self.database
    }

    /// Gives the database back.
    pub fn into_database(self) -> D {
        self.database
    }

    /// Everything back to the beginning; every actor runs up to its first request.
    pub(crate) fn begin(&mut self, faults: FaultBudget) -> Result<(), BackendError> {
        self.database.reset()?;
        self.faults = faults;
        self.ended = 0;
        self.gave_up = None;
        let works = (0..self.cast.len()).filter(|&actor| self.cast.works(actor)).count();
        self.shared.at_work.set(u32::try_from(works).expect("at most 64 actors"));
        for actor in 0..self.lanes.len() {
            self.lanes[actor].reset();
            self.bodies[actor] = None;
        }
        (0..self.lanes.len()).try_for_each(|actor| self.start(actor))
    }

    /// The choices that are there. None: everybody is done, or nobody can go on.
    pub(crate) fn ready(&self) -> Ready {
        let at_work = self.shared.at_work.get() > 0;
        let (mut steps, mut commits, mut crashed, mut paused) = (0, 0, 0, 0);
        for (actor, lane) in self.lanes.iter().enumerate() {
            let bit = 1 << actor;
            match lane.phase.get() {
                Phase::Posted => {
                    steps |= bit;
                    commits |= u64::from(lane.is_commit.get()) << actor;
                }
                Phase::HasSnapshot => steps |= bit,
                Phase::Paused(since) if self.ended > since => steps |= bit,
                Phase::Paused(_) => paused |= bit,
                Phase::AwaitsOthers if !at_work => steps |= bit,
                Phase::Crashed => crashed |= bit,
                _ => {}
            }
        }
        if steps | crashed == 0 {
            steps = paused;
        }
        // In the liveness phase nothing goes wrong any more: the work is done, everything must converge.
        Ready {
            steps: steps | crashed,
            lost_answers: if at_work && self.faults.lost_answers > 0 { commits } else { 0 },
            crashes: if at_work && self.faults.crashes > 0 { steps } else { 0 },
        }
    }

    /// Makes a choice that [`Executor::ready`] offered.
    pub(crate) fn step(&mut self, choice: Choice, trace: &mut Trace) -> Result<Stepped, BackendError> {
        let actor = usize::from(choice.actor);
        trace.step(choice);
        let mut stepped = Stepped::default();
        match (choice.act, self.lanes[actor].phase.get()) {
            (Act::Crash, _) => {
                self.faults.crashes -= 1;
                stepped.crashed = Some(choice.actor);
                stepped.crashed_in_transaction = self.lanes[actor].in_transaction.get();
                self.bodies[actor] = None;
                self.disconnect(actor)?;
                self.lanes[actor].phase.set(Phase::Crashed);
                trace.crashed();
            }
            (act, Phase::Posted | Phase::HasSnapshot) => {
                let lose = act == Act::LoseAnswer;
                self.faults.lost_answers -= u32::from(lose);
                let outcome = self.send(actor, trace)?;
                self.follow(actor, outcome, lose, &mut stepped, trace)?;
            }
            (_, Phase::Crashed) => {
                trace.restarted();
                self.start(actor)?;
            }
            (_, _) => {
                trace.pause_ended();
                self.run_on(actor)?;
            }
        }
        self.wake(&mut stepped, trace)?;
        Ok(stepped)
    }

    /// Whether every actor is done.
    pub(crate) fn all_done(&self) -> bool {
        self.lanes.iter().all(|lane| lane.phase.get() == Phase::Done)
    }

    /// Whether every appender and rebuilder is done: the liveness phase.
    pub(crate) fn work_is_done(&self) -> bool {
        self.shared.at_work.get() == 0
    }

    /// The actor that met an error that its protocol does not cope with.
    pub(crate) fn gave_up(&self) -> Option<&(u8, DbError)> {
        self.gave_up.as_ref()
    }

    pub(crate) fn lane(&self, actor: usize) -> &Lane {
        &self.lanes[actor]
    }

    /// Who waits for whom, for a run that cannot go on.
    pub(crate) fn waiting(&mut self) -> Result<Vec<(usize, Vec<usize>)>, BackendError> {
        let waiting = |actor: &usize| self.lanes[*actor].phase.get() == Phase::Waiting;
        let actors: Vec<usize> = (0..self.lanes.len()).filter(waiting).collect();
        actors.into_iter().map(|actor| Ok((actor, self.database.blockers(actor)?))).collect()
    }

    /// Sends what is posted, or goes on with what has its snapshot.
    fn send(&mut self, actor: usize, trace: &mut Trace) -> Result<Outcome, BackendError> {
        let lane = &self.lanes[actor];
        if lane.phase.get() == Phase::HasSnapshot {
            return self.database.proceed(actor);
        }
        if !lane.connected.replace(true) {
            self.database.connect(actor)?;
        }
        lane.statements.set(lane.statements.get() + 1);
        let Call { statement, params } = &*lane.posted();
        trace.sent(statement, params);
        if self.granularity == Granularity::Snapshot && is_select(statement) {
            self.database.execute_to_snapshot(actor, statement, params)
        } else {
            self.database.execute(actor, statement, params)
        }
    }

    /// What became of a statement becomes of its lane.
    fn follow(
        &mut self,
        actor: usize,
        outcome: Outcome,
        lose: bool,
        stepped: &mut Stepped,
        trace: &mut Trace,
    ) -> Result<(), BackendError> {
        let answer = match outcome {
            Outcome::Answered(answer) => answer,
            Outcome::HasSnapshot => {
                self.lanes[actor].phase.set(Phase::HasSnapshot);
                trace.has_snapshot();
                return Ok(());
            }
            Outcome::Waits => {
                self.lanes[actor].phase.set(Phase::Waiting);
                let blockers = if trace.keeps_history() { self.database.blockers(actor)? } else { Vec::new() };
                trace.waits(&blockers);
                return Ok(());
            }
        };
        self.settle(actor, &answer, stepped);
        if lose {
            stepped.answer_lost = true;
            trace.answer_lost(&answer);
            self.disconnect(actor)?;
            self.reply(actor, Err(connection_lost()))
        } else {
            trace.answered(&answer);
            self.reply(actor, answer)
        }
    }

    /// Whoever waited and was answered through this step goes on.
    fn wake(&mut self, stepped: &mut Stepped, trace: &mut Trace) -> Result<(), BackendError> {
        while let Some((actor, answer)) = self.database.next_woken()? {
            self.settle(actor, &answer, stepped);
            trace.woken(actor, &answer);
            self.reply(actor, answer)?;
        }
        Ok(())
    }

    /// Follows transactions by their command tags.
    fn settle(&mut self, actor: usize, answer: &Result<Answer, DbError>, stepped: &mut Stepped) {
        let lane = &self.lanes[actor];
        let (committed, ended) = match answer {
            Ok(Answer { tag: Tag::Begin, .. }) => {
                lane.in_transaction.set(true);
                lane.statements.set(0);
                (false, false)
            }
            Ok(Answer { tag: Tag::Commit, .. }) => {
                lane.in_transaction.set(false);
                (true, true)
            }
            Ok(Answer { tag: Tag::Rollback, .. }) => {
                lane.in_transaction.set(false);
                (false, true)
            }
            Ok(_) => (!lane.in_transaction.get(), !lane.in_transaction.get()),
            // An error ends the transaction at once, and frees its locks: what comes until ROLLBACK is only refused.
            Err(_) => (false, true),
        };
        self.ended += u64::from(ended);
        stepped.committed |= u64::from(committed) << actor;
    }

    fn reply(&mut self, actor: usize, answer: Result<Answer, DbError>) -> Result<(), BackendError> {
        if self.lanes[actor].answered(answer) { self.run_on(actor) } else { Ok(()) }
    }

    fn start(&mut self, actor: usize) -> Result<(), BackendError> {
        let context = ActorContext {
            lane: self.lanes[actor].clone(),
            shared: self.shared.clone(),
            actor: u8::try_from(actor).expect("at most 64 actors"),
        };
        self.bodies[actor] = Some(self.cast.start(actor, context));
        self.run_on(actor)
    }

    /// Lets an actor run up to its next request.
    fn run_on(&mut self, actor: usize) -> Result<(), BackendError> {
        let lane = &self.lanes[actor];
        lane.phase.set(Phase::Running);
        let body = self.bodies[actor].as_mut().expect("an actor that runs has a body");
        let result = body.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        match result {
            Poll::Pending => match lane.phase.get() {
                Phase::Posted | Phase::AwaitsOthers => {}
                Phase::Paused(_) => lane.phase.set(Phase::Paused(self.ended)),
                phase => panic!("actor {actor} waits for something that is not the port ({phase:?})"),
            },
            Poll::Ready(Ok(())) => {
                lane.phase.set(Phase::Done);
                self.bodies[actor] = None;
                if self.cast.works(actor) {
                    self.shared.at_work.set(self.shared.at_work.get() - 1);
                }
                if self.lanes[actor].in_transaction.get() {
                    // It left something open, and its process ends.
                    self.disconnect(actor)?;
                }
            }
            Poll::Ready(Err(error)) => {
                lane.phase.set(Phase::GaveUp);
                self.gave_up = Some((u8::try_from(actor).expect("at most 64 actors"), error));
            }
        }
        Ok(())
    }

    fn disconnect(&mut self, actor: usize) -> Result<(), BackendError> {
        let lane = &self.lanes[actor];
        let connected = lane.connected.get();
        lane.disconnected();
        self.ended += 1;
        if connected { self.database.disconnect(actor) } else { Ok(()) }
    }
}
