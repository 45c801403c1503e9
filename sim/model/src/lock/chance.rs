//! What a server leaves to chance, as numbers: so that all that it may do can be gone through.
//!
//! Several whose waits are over at the same time go on as their processes are scheduled; and of the waiters in a cycle, the one whose
//! `deadlock_timeout` passes first looks for it. The model takes the first alternative, those who came first and whoever closed the cycle, unless it was
//! told otherwise. Processes run side by side: so where one of several that are awake comes to a row that it wants, it may be overtaken there.

use super::{End, Locks};
use crate::mvcc::Xacts;
use crate::server::Server;

/// Which alternatives are taken, and how many there were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chance {
    script: Vec<usize>,
    alternatives: Vec<usize>,
}

impl Chance {
    /// One of so many.
    fn draw(&mut self, alternatives: usize) -> usize {
        let drawn = self.script.get(self.alternatives.len()).copied().unwrap_or(0);
        self.alternatives.push(alternatives);
        drawn.min(alternatives - 1)
    }
}

impl Server {
    /// From now on, of what PostgreSQL leaves to chance the alternatives with these numbers are taken, one after the other, and then always the
    /// first, which is what is taken without a script.
    pub fn script_chance(&mut self, script: Vec<usize>) {
        self.core.locks.chance = Some(Box::new(Chance { script, alternatives: Vec::new() }));
    }

    /// How many alternatives there were at each place since [`Server::script_chance`].
    pub fn chances(&self) -> &[usize] {
        self.core.locks.chance.as_ref().map_or(&[], |chance| &chance.alternatives)
    }
}

impl Locks {
    /// The next whose wait is over.
    pub(crate) fn next_granted(&mut self) -> Option<(u16, End)> {
        let next = match &mut self.chance {
            Some(chance) if self.granted.len() > 1 => chance.draw(self.granted.len()),
            _ => 0,
        };
        self.granted.remove(next)
    }

    /// Whether a session that runs is overtaken by others that are awake: then it goes on after one of them.
    pub(crate) fn lets_others_go_first(&mut self, session: u16) -> bool {
        let Some(chance) = self.chance.as_mut().filter(|_| !self.granted.is_empty()) else { return false };
        let overtaken = chance.draw(2) == 1;
        if overtaken {
            self.granted.push_back((session, End::Granted));
        }
        overtaken
    }

    /// Looks for a deadlock where `session` has just begun to wait; false: it is the victim. Another one in the cycle may be, or may stand in a queue whose
    /// order opens the cycle.
    pub(super) fn look_for_deadlock(&mut self, session: u16, xacts: &Xacts) -> bool {
        while self.chance.is_some() {
            let cycle = self.cycle(session, xacts);
            let Some(chance) = self.chance.as_mut().filter(|_| cycle.len() > 1) else { break };
            let looks = cycle[chance.draw(cycle.len())];
            if looks == session {
                break;
            }
            if !self.resolve_deadlock(looks, xacts) {
                self.granted.push_back((looks, End::Deadlock));
                self.cancel_wait(looks);
            }
        }
        self.resolve_deadlock(session, xacts)
    }
}
