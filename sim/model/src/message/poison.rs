//! What a setup creates and the model cannot: it is remembered by name, and refused where it is used.
//!
//! A setup often makes more than one schedule needs. So a definition that is refused does not fail the setup of a session that asked for this
//! ([`Server::poison`]): its object, and every table that it mentions, is poisoned until it is dropped. Nobody else may be in a transaction then, or the
//! definition could have had to wait.

use smol_str::SmolStr;

use super::piece::words;
use crate::error::Error;
use crate::parse;
use crate::plan::{Body, Plan, Utility};
use crate::server::{Prepared, Server, SessionId};

/// A definition that cannot be done, by what it leaves behind.
#[derive(Debug)]
pub(crate) struct Poison {
    /// What the model does not support.
    pub(crate) construct: SmolStr,
    /// A table, view or sequence that it makes.
    pub(crate) relation: Option<SmolStr>,
    pub(crate) function: Option<SmolStr>,
    /// Those of these words that name a relation are poisoned, too.
    pub(crate) words: Vec<SmolStr>,
    /// Rows written to what is poisoned have no other effect.
    pub(crate) inert: bool,
    /// What is dropped is not poisoned any more.
    pub(crate) drops: bool,
}

/// Words between CREATE and what is created.
const MODIFIERS: [&str; 9] =
    ["or", "replace", "temp", "temporary", "unlogged", "unique", "materialized", "constraint", "recursive"];

impl Server {
    /// From now on definitions that the model refuses do not fail on this session, if nobody else is in a transaction: what they define, and the
    /// tables that they mention, are refused where they are used.
    pub fn poison(&mut self, session: SessionId) {
        self.core.session_mut(session.number()).poisons = true;
    }

    /// What does instead of `text`, which was refused, what can be done.
    pub(super) fn poisoned(&mut self, me: u16, text: &SmolStr, refusal: &Error) -> Option<Prepared> {
        let others = self.core.sessions.iter().enumerate().filter(|(number, _)| *number != usize::from(me));
        if !self.core.session(me).poisons || others.into_iter().any(|(_, other)| other.transaction.is_some()) {
            return None;
        }
        if self.drops_what_is_there(text) {
            return None;
        }
        if !self.poisons.contains_key(text) {
            let words = words(&parse::tokens(text).ok()?);
            let writes = ["insert", "update", "delete"].contains(&words.first()?.as_str());
            let prepared = self.adopt(plan(&words, refusal)?);
            self.poisons.insert(text.clone(), Poisoned { prepared, written: writes.then_some(words) });
        }
        let Poisoned { prepared, written } = &self.poisons[text];
        let done = written.as_ref().is_none_or(|words| self.core.catalog.has_inert_poison(words));
        done.then_some(*prepared)
    }

    /// What is dropped beside what is not known would stay there.
    fn drops_what_is_there(&self, text: &str) -> bool {
        let Ok(tokens) = parse::tokens(text) else { return false };
        let (words, catalog) = (words(&tokens), &self.core.catalog);
        let is_there = |word: &SmolStr| catalog.lookup("public", word).is_some() && !catalog.is_poisoned(word);
        words.first().is_some_and(|first| first == "drop") && words.iter().any(is_there)
    }
}

/// What is done instead of a statement that is refused.
#[derive(Clone, Debug)]
pub(crate) struct Poisoned {
    prepared: Prepared,
    /// The words of one that writes rows: nothing is done instead, unless it is to a table where that has no effect.
    written: Option<Vec<SmolStr>>,
}

fn plan(words: &[SmolStr], refusal: &Error) -> Option<Plan> {
    let all = || words.to_vec();
    let poison = match words.first()?.as_str() {
        "create" => created(words)?,
        "alter" if words.get(1)? == "table" => Poison::of(all(), true),
        "grant" | "revoke" => Poison::of(all(), true),
        "drop" => Poison { drops: true, ..Poison::of(all(), true) },
        "insert" | "update" | "delete" => Poison::of(Vec::new(), true),
        _ => return None,
    };
    let construct = refusal.message.strip_prefix("the model does not support ").unwrap_or(&refusal.message);
    let body = Body::Utility(Utility::Poison(Box::new(Poison { construct: construct.into(), ..poison })));
    Some(Plan { params: Vec::new(), columns: Vec::new(), body })
}

impl Poison {
    fn of(words: Vec<SmolStr>, inert: bool) -> Self {
        Self { construct: SmolStr::default(), relation: None, function: None, words, inert, drops: false }
    }
}

fn created(words: &[SmolStr]) -> Option<Poison> {
    let mut rest = words[1..].iter().skip_while(|word| MODIFIERS.contains(&word.as_str()));
    let kind = rest.next()?.as_str();
    let mut rest = rest.skip_while(|word| ["if", "not", "exists", "concurrently"].contains(&word.as_str()));
    let name = rest.next().cloned();
    let poison = Poison::of(words[1..].to_vec(), true);
    Some(match kind {
        "table" | "view" | "sequence" => Poison { relation: Some(name?), ..poison },
        // What stands in its body is not done here.
        "function" | "procedure" | "aggregate" => Poison { function: Some(name?), words: Vec::new(), ..poison },
        "index" | "statistics" | "type" | "domain" | "role" | "user" => poison,
        "trigger" | "rule" | "policy" => Poison { inert: false, ..poison },
        _ => return None,
    })
}
