//! Stepping through a real server: one statement outstanding a session, waits seen as data.
//!
//! A statement that was sent either answers soon, or a second connection asks the server who blocks whom. A step is over when
//! everything is *settled*: every session has been answered, or is blocked by sessions of ours, without a cycle. Then nothing can happen any more
//! until the next statement is sent, so what is seen does not depend on how fast anybody was:
//!
//! - When a releasing statement has been answered, its locks have been handed over: whoever got one does not count as blocked any
//!   more, and is waited for until it answers or blocks again. Source: PostgreSQL, src/backend/storage/lmgr/lock.c, `LockRelease`, and
//!   `pg_blocking_pids`; src/test/isolation/isolationtester.c goes the same way.
//! - Whoever waits goes on only when somebody whom it waits for has let something go. So where a step lets nothing go, or only those let go
//!   whom nobody was seen to wait for, nobody else is asked for.
//! - A cycle ends through the server's deadlock detector. Each waiter runs it once, `deadlock_timeout` after its wait began, and
//!   the first that finds a cycle is the victim. So that this does not depend on how fast anybody was, a session is to look the sooner the
//!   more others wait for it ([`Stepper::waiters_for`]): whoever closes a cycle has all its others waiting for it, and they had fewer.
//!
//! Only sessions of ours count as blockers. A wait for anybody else, and everything else that takes too long, ends after
//! [`SETTLE_MAX`] in an error that says who waits for what.

use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::control::Control;
use crate::backend::block_on::block_on;

/// Most statements answer sooner; asking who blocks them would only slow them down.
const ANSWER_SOON: Duration = Duration::from_micros(150);
/// How long somebody who goes on is waited for before the next look. (The runtime's timers count milliseconds.)
const ANSWER_LATE: Duration = Duration::from_millis(1);
/// No step takes longer, or it is an error.
const SETTLE_MAX: Duration = Duration::from_secs(10);

/// What holds up a statement that has its snapshot counts as a session of this number.
pub(super) const GATE: usize = usize::MAX;

/// A statement on its way: gives the connection back with the answer.
pub(super) type Flight<C, A> = Pin<Box<dyn Future<Output = (C, A)>>>;

/// Sessions of one server; `C` is a connection, `A` what a statement is answered.
pub(super) struct Stepper<C, A> {
    runtime: Runtime,
    control: Control,
    sessions: BTreeMap<usize, Session<C, A>>,
    woken: VecDeque<(usize, A)>,
    next_flight: u64,
    /// The process of [`GATE`].
    gate: Option<i32>,
}

struct Session<C, A> {
    pid: i32,
    state: State<C, A>,
}

enum State<C, A> {
    Idle(C),
    Busy(Busy<C, A>),
    /// Only between two lines of this file.
    Between,
}

struct Busy<C, A> {
    flight: Flight<C, A>,
    /// Orders the waiting statements by when they were sent.
    number: u64,
    /// Who blocked it when last looked.
    blockers: Vec<usize>,
}

/// How likely a statement is to wait. It decides how long is waited before the first look, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waits {
    /// As any write or lock, where somebody holds something.
    Maybe,
    /// As a plain read, which only a table's lock keeps out.
    Seldom,
    /// Nobody else holds anything.
    Hardly,
}

/// What became of a statement that was sent.
pub(super) enum Sent<A> {
    Answered(A),
    Waits,
}

impl<C, A> Stepper<C, A> {
    /// The stepper of the database that `url` names.
    pub(super) fn open(url: &str) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let control = block_on(&runtime, Control::open(url))?;
        Ok(Self { runtime, control, sessions: BTreeMap::new(), woken: VecDeque::new(), next_flight: 0, gate: None })
    }

    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(super) fn control(&self) -> (&Runtime, &Control) {
        (&self.runtime, &self.control)
    }

    /// `pid` is the process that statements are held up by.
    pub(super) fn add_gate(&mut self, pid: i32) {
        self.gate = Some(pid);
    }

    /// `pid` is the server's process of that connection.
    pub(super) fn add(&mut self, session: usize, connection: C, pid: i32) {
        let replaced = self.sessions.insert(session, Session { pid, state: State::Idle(connection) });
        assert!(replaced.is_none(), "session {session} is connected already");
    }

    /// Gives back the connections that wait for nothing, each with its session and its backend's process id.
    pub(super) fn take_idle(&mut self) -> Vec<(usize, C, i32)> {
        let mut idle = Vec::new();
        for (number, session) in std::mem::take(&mut self.sessions) {
            match session.state {
                State::Idle(connection) => idle.push((number, connection, session.pid)),
                State::Busy(_) | State::Between => drop(self.sessions.insert(number, session)),
            }
        }
        idle
    }

    pub(super) fn waiting(&self) -> Vec<usize> {
        self.sessions.iter().filter(|(_, s)| matches!(s.state, State::Busy(_))).map(|(number, _)| *number).collect()
    }

    /// Sends on a session that waits for nothing. `releases` says of an answer whether somebody who waited may go on with it;
    /// `releases_first`, whether the statement may let something go and wait after that.
    pub(super) fn send(
        &mut self,
        session: usize,
        flight: impl FnOnce(C) -> Flight<C, A>,
        waits: Waits,
        releases_first: bool,
        releases: impl FnOnce(&A) -> bool,
    ) -> Result<Sent<A>, String> {
        let number = self.next_flight;
        self.next_flight += 1;
        let entry = self.sessions.get_mut(&session).unwrap_or_else(|| panic!("session {session} is not connected"));
        let State::Idle(connection) = std::mem::replace(&mut entry.state, State::Between) else {
            panic!("session {session} was sent a statement while it waits");
        };
        entry.state = State::Busy(Busy { flight: flight(connection), number, blockers: Vec::new() });
        self.follow(session, number, waits, releases_first, releases)
    }

    /// A session's statement was let go.
    pub(super) fn go_on(&mut self, session: usize, releases: impl FnOnce(&A) -> bool) -> Result<Sent<A>, String> {
        let number = self.next_flight;
        self.next_flight += 1;
        match self.sessions.get_mut(&session).map(|s| &mut s.state) {
            // It begins to wait for others, if it does, only now.
            Some(State::Busy(busy)) => {
                busy.number = number;
                busy.blockers.clear();
            }
            _ => panic!("session {session} has no statement to go on with"),
        }
        self.follow(session, number, Waits::Maybe, true, releases)
    }

    fn follow(
        &mut self,
        session: usize,
        number: u64,
        waits: Waits,
        releases_first: bool,
        releases: impl FnOnce(&A) -> bool,
    ) -> Result<Sent<A>, String> {
        let mut answers = BTreeMap::new();
        if waits == Waits::Maybe {
            self.spin(&[session], &mut answers);
        }
        let patience = match waits {
            Waits::Maybe => 0,
            Waits::Seldom => 1,
            Waits::Hardly => 10,
        };
        for _ in 0..patience {
            if answers.is_empty() {
                self.collect(&mut answers);
            }
        }
        if answers.is_empty() && !releases_first {
            self.watch(session, &mut answers)?;
        }
        // Whoever waits, waits for a lock that was held before this statement was sent: while that is held, nothing has changed for them.
        let kept = match answers.get(&number) {
            Some((_, answer)) => answers.len() == 1 && !releases(answer),
            None => !releases_first && answers.is_empty(),
        };
        if !kept {
            self.spin(&self.waiters_behind(&answers), &mut answers);
            if !self.waiters_behind(&answers).is_empty() {
                self.settle(&mut answers)?;
            }
        }
        let own = answers.remove(&number);
        self.wake(answers);
        Ok(own.map_or(Sent::Waits, |(_, answer)| Sent::Answered(answer)))
    }

    /// Who still waits, and may go on since these were answered: when last looked, it waited for one of them, or nobody has looked yet.
    fn waiters_behind(&self, answers: &BTreeMap<u64, (usize, A)>) -> Vec<usize> {
        let behind = |waiting: &usize| {
            let blockers = self.blockers(*waiting);
            blockers.is_empty() || answers.values().any(|(answered, _)| blockers.contains(answered))
        };
        self.waiting().into_iter().filter(behind).collect()
    }

    /// Nobody has let anything go, so that only `session` can be under way. Returns when it was answered, or is blocked, and no cycle is left.
    fn watch(&mut self, session: usize, answers: &mut BTreeMap<u64, (usize, A)>) -> Result<(), String> {
        let begin = now();
        while answers.is_empty() {
            let look = self.look(&[session])?;
            self.poll_once(answers);
            if answers.is_empty() {
                self.remember(&look);
                let waiting = self.waiting();
                if waiting.iter().all(|waiting| !self.blockers(*waiting).is_empty()) {
                    let all = waiting.iter().map(|waiting| (*waiting, self.blockers(*waiting))).collect();
                    if has_cycle(&all) {
                        return self.settle(answers);
                    }
                    return Ok(());
                }
                self.collect(answers);
            }
            if begin.elapsed() > SETTLE_MAX {
                return Err(self.unsettled(&self.waiting()));
            }
        }
        Ok(())
    }

    pub(super) fn next_woken(&mut self) -> Option<(usize, A)> {
        self.woken.pop_front()
    }

    /// Whom `session`, which waits, waits for.
    pub(super) fn blockers(&self, session: usize) -> Vec<usize> {
        match self.sessions.get(&session).map(|s| &s.state) {
            Some(State::Busy(busy)) => busy.blockers.clone(),
            _ => Vec::new(),
        }
    }

    /// Breaks the connection, and returns when the server has rolled back what was open.
    pub(super) fn disconnect(&mut self, session: usize) -> Result<(), String> {
        let Some(gone) = self.sessions.remove(&session) else { return Ok(()) };
        let pid = gone.pid;
        drop(gone);
        block_on(&self.runtime, self.control.end_backend(pid))?;
        self.look_again()
    }

    /// Gives back the connection of a session that waits for nothing.
    pub(super) fn take(&mut self, session: usize) -> Option<(C, i32)> {
        match self.sessions.remove(&session) {
            Some(Session { state: State::Idle(connection), pid }) => Some((connection, pid)),
            Some(busy) => {
                self.sessions.insert(session, busy);
                None
            }
            None => None,
        }
    }

    /// Something was released beside the sessions: whoever waited for it goes on.
    pub(super) fn look_again(&mut self) -> Result<(), String> {
        let mut answers = BTreeMap::new();
        self.settle(&mut answers)?;
        self.wake(answers);
        Ok(())
    }

    /// Nothing is left of the run: breaks the connections that wait, and returns with the others idle.
    pub(super) fn stop(&mut self) -> Result<(), String> {
        while let Some(session) = self.waiting().pop() {
            self.disconnect(session)?;
        }
        self.woken.clear();
        Ok(())
    }

    fn wake(&mut self, answers: BTreeMap<u64, (usize, A)>) {
        self.woken.extend(answers.into_values());
    }

    /// Waits until everything is settled; adds the answers that come, in the order in which their statements were sent.
    fn settle(&mut self, answers: &mut BTreeMap<u64, (usize, A)>) -> Result<(), String> {
        let begin = now();
        let mut before = None;
        loop {
            let waiting = self.waiting();
            if waiting.is_empty() {
                return Ok(());
            }
            let look = self.look(&waiting)?;
            if self.poll_once(answers) {
                before = None;
                continue;
            }
            if look.values().all(|blockers| !blockers.is_empty()) && !has_cycle(&look) {
                // One that is alone cannot be overtaken between two lines of one look; of several, the picture must hold still.
                if waiting.len() == 1 || before.as_ref() == Some(&look) {
                    self.remember(&look);
                    return Ok(());
                }
            } else {
                // Somebody goes on, or the detector is due.
                self.collect(answers);
            }
            before = Some(look);
            if begin.elapsed() > SETTLE_MAX {
                return Err(self.unsettled(&waiting));
            }
        }
    }

    /// Waits for the answers of `awaited`, but not for long: as long as the runtime's timers cannot count. Busily, so only where a wait is likely:
    /// else it takes the processor from the server.
    fn spin(&mut self, awaited: &[usize], answers: &mut BTreeMap<u64, (usize, A)>) {
        let sessions = &mut self.sessions;
        block_on(&self.runtime, async {
            let begin = now();
            let under_way = |sessions: &BTreeMap<usize, Session<C, A>>| {
                awaited.iter().any(|session| matches!(sessions[session].state, State::Busy(_)))
            };
            while under_way(sessions) && begin.elapsed() < ANSWER_SOON {
                poll_fn(|context| Poll::Ready(poll_flights(sessions, context, answers))).await;
                tokio::task::yield_now().await;
            }
        });
    }

    /// Waits for anybody's answer, but not for long; takes all that came.
    fn collect(&mut self, answers: &mut BTreeMap<u64, (usize, A)>) {
        let sessions = &mut self.sessions;
        let landed = poll_fn(|context| {
            let any = poll_flights(sessions, context, answers);
            if any { Poll::Ready(()) } else { Poll::Pending }
        });
        block_on(&self.runtime, async {
            let _ = tokio::time::timeout(ANSWER_LATE, landed).await;
        });
    }

    /// Takes the answers that are here; whether there were any.
    fn poll_once(&mut self, answers: &mut BTreeMap<u64, (usize, A)>) -> bool {
        let sessions = &mut self.sessions;
        block_on(&self.runtime, poll_fn(|context| Poll::Ready(poll_flights(sessions, context, answers))))
    }

    /// Who is blocked by whom, of those who wait; by nobody of ours: an empty list.
    fn look(&self, waiting: &[usize]) -> Result<BTreeMap<usize, Vec<usize>>, String> {
        let mut by_pid: BTreeMap<i32, usize> = self.sessions.iter().map(|(number, s)| (s.pid, *number)).collect();
        by_pid.extend(self.gate.map(|pid| (pid, GATE)));
        let pids: Vec<i32> = waiting.iter().map(|number| self.sessions[number].pid).collect();
        let blocked = block_on(&self.runtime, self.control.blocking_pids(&pids))?;
        let of_ours = |pids: Vec<i32>| {
            let mut blockers: Vec<usize> = pids.iter().filter_map(|pid| by_pid.get(pid).copied()).collect();
            blockers.sort_unstable();
            blockers.dedup();
            blockers
        };
        Ok(blocked.into_iter().map(|(pid, blockers)| (by_pid[&pid], of_ours(blockers))).collect())
    }

    fn remember(&mut self, look: &BTreeMap<usize, Vec<usize>>) {
        for (number, blockers) in look {
            if let Some(Session { state: State::Busy(busy), .. }) = self.sessions.get_mut(number) {
                busy.blockers.clone_from(blockers);
            }
        }
    }

    /// How many wait for `session`, or for somebody who does: if it waits too, that may close a cycle.
    pub(super) fn waiters_for(&self, session: usize) -> usize {
        self.waiting().into_iter().filter(|waiter| self.reaches(*waiter, session)).count()
    }

    fn reaches(&self, waiter: usize, session: usize) -> bool {
        let mut seen = vec![waiter];
        let mut next = 0;
        while let Some(&at) = seen.get(next) {
            next += 1;
            for blocker in self.blockers(at) {
                if blocker == session {
                    return true;
                }
                if !seen.contains(&blocker) {
                    seen.push(blocker);
                }
            }
        }
        false
    }

    fn unsettled(&self, waiting: &[usize]) -> String {
        let pids: Vec<i32> = waiting.iter().map(|number| self.sessions[number].pid).collect();
        let activity = block_on(&self.runtime, self.control.describe(&pids)).unwrap_or_else(|e| e);
        format!(
            "sessions {waiting:?} were neither answered nor blocked by a session of this run within {} s:\n{activity}",
            SETTLE_MAX.as_secs()
        )
    }
}

/// Polls each flight once: whether any landed.
fn poll_flights<C, A>(
    sessions: &mut BTreeMap<usize, Session<C, A>>,
    context: &mut std::task::Context<'_>,
    answers: &mut BTreeMap<u64, (usize, A)>,
) -> bool {
    let mut any = false;
    for (number, session) in sessions {
        if let State::Busy(busy) = &mut session.state
            && let Poll::Ready((connection, answer)) = busy.flight.as_mut().poll(context)
        {
            answers.insert(busy.number, (*number, answer));
            session.state = State::Idle(connection);
            any = true;
        }
    }
    any
}

/// Whether the waits go round in a circle: then the server's detector has yet to speak.
fn has_cycle(look: &BTreeMap<usize, Vec<usize>>) -> bool {
    // Whoever waits only for those who are free, is free in the end; who is left over goes round in a circle or waits for one.
    let mut stuck: Vec<usize> = look.keys().copied().collect();
    loop {
        let before = stuck.len();
        stuck = stuck.iter().copied().filter(|s| look[s].iter().any(|blocker| stuck.contains(blocker))).collect();
        if stuck.len() == before {
            return before > 0;
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long a real server takes decides nothing but when it is asked again"
)]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_one_that_nobody_leaves() {
        let look = |edges: &[(usize, &[usize])]| edges.iter().map(|(s, blockers)| (*s, blockers.to_vec())).collect();
        assert!(!has_cycle(&look(&[(1, &[0]), (2, &[1, 0])])), "a chain");
        assert!(has_cycle(&look(&[(1, &[0]), (0, &[1])])), "two");
        assert!(has_cycle(&look(&[(1, &[2]), (2, &[3]), (3, &[1]), (4, &[5])])), "three, beside a chain");
        assert!(has_cycle(&look(&[(1, &[2]), (2, &[1]), (3, &[2])])), "one waits for a cycle");
    }
}
