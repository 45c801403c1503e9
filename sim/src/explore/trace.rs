//! The trace of a run: its hash, always; its history, where somebody will read it.
//!
//! What is hashed is a list of numbers of 64 bits, each with a tag that says what it is; a text is cut into such numbers. Each is taken in at
//! once, by one multiplication whose halves are folded together, as wyhash (Wang Yi, 2019) does it. Nothing that differs from process to
//! process (an address, a statement's id) may get in, and the algorithm stays as it is: schedule files and reports need the same hash
//! everywhere.

use skiptrace::{Answer, DbError, Statement, Tag, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::history::{Effect, History, StepRecord};
use super::schedule::{Act, Choice};

/// See the module.
pub(crate) struct Trace {
    hash: Hash,
    /// A hash of name and text by statement id; 0: not computed yet.
    keys: Vec<u64>,
    history: Option<History>,
    statements: u32,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { hash: Hash::NEW, keys: Vec::new(), history: None, statements: 0 }
    }

    pub(crate) fn begin(&mut self, keep_history: bool) {
        self.hash = Hash::NEW;
        self.statements = 0;
        self.history = keep_history.then(History::default);
    }

    pub(crate) fn keeps_history(&self) -> bool {
        self.history.is_some()
    }

    pub(crate) fn take_history(&mut self) -> Option<History> {
        self.history.take()
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.0
    }

    pub(crate) fn statements(&self) -> u32 {
        self.statements
    }

    pub(crate) fn step(&mut self, choice: Choice) {
        let act = match choice.act {
            Act::Step => 0,
            Act::LoseAnswer => 1,
            Act::Crash => 2,
        };
        self.hash.add(1, u64::from(choice.actor) << 8 | act);
        if let Some(history) = &mut self.history {
            history.steps.push(StepRecord {
                choice,
                sent: None,
                effect: Effect::PauseEnded,
                woken: Vec::new(),
                milestones: Vec::new(),
            });
        }
    }

    pub(crate) fn sent(&mut self, statement: &Statement, params: &[Value]) {
        self.statements += 1;
        let key = self.key(statement);
        self.hash.add(2, key);
        self.hash.values(params);
        if let Some(record) = self.record() {
            record.sent = Some((statement.clone(), params.to_vec()));
        }
    }

    pub(crate) fn answered(&mut self, answer: &Result<Answer, DbError>) {
        self.hash.add(10, 0);
        self.hash.answer(answer);
        self.effect(|| Effect::Answered(answer.clone()));
    }

    pub(crate) fn answer_lost(&mut self, answer: &Result<Answer, DbError>) {
        self.hash.add(11, 0);
        self.hash.answer(answer);
        self.effect(|| Effect::AnswerLost);
    }

    pub(crate) fn waits(&mut self, blockers: &[usize]) {
        self.hash.add(12, 0);
        let actor = |&blocker: &usize| u8::try_from(blocker).expect("at most 64 actors");
        self.effect(|| Effect::Waits(blockers.iter().map(actor).collect()));
    }

    pub(crate) fn pause_ended(&mut self) {
        self.hash.add(13, 0);
        self.effect(|| Effect::PauseEnded);
    }

    pub(crate) fn crashed(&mut self) {
        self.hash.add(14, 0);
        self.effect(|| Effect::Crashed);
    }

    pub(crate) fn restarted(&mut self) {
        self.hash.add(15, 0);
        self.effect(|| Effect::Restarted);
    }

    pub(crate) fn woken(&mut self, actor: usize, answer: &Result<Answer, DbError>) {
        let actor = u8::try_from(actor).expect("at most 64 actors");
        self.hash.add(16, actor.into());
        self.hash.answer(answer);
        if let Some(record) = self.record() {
            record.woken.push((actor, answer.clone()));
        }
    }

    pub(crate) fn has_snapshot(&mut self) {
        self.hash.add(17, 0);
        self.effect(|| Effect::HasSnapshot);
    }

    /// Not hashed: milestones follow from the rest.
    pub(crate) fn milestone(&mut self, name: &'static str) {
        if let Some(record) = self.record() {
            record.milestones.push(name);
        }
    }

    fn record(&mut self) -> Option<&mut StepRecord> {
        self.history.as_mut().and_then(|history| history.steps.last_mut())
    }

    fn effect(&mut self, effect: impl FnOnce() -> Effect) {
        if let Some(record) = self.record() {
            record.effect = effect();
        }
    }

    fn key(&mut self, statement: &Statement) -> u64 {
        let id = statement.id() as usize;
        if let Some(&key) = self.keys.get(id)
            && key != 0
        {
            return key;
        }
        let key = xxh3_64(format!("{}\0{}", statement.name(), statement.sql()).as_bytes()).max(1);
        if self.keys.len() <= id {
            self.keys.resize(id + 1, 0);
        }
        self.keys[id] = key;
        key
    }
}

/// A hash of what has been taken in so far.
struct Hash(u64);

impl Hash {
    /// Any number but 0, from which the first multiplication would make 0 whatever it is.
    const NEW: Self = Self(0x243f_6a88_85a3_08d3);

    #[inline]
    fn add(&mut self, tag: u8, number: u64) {
        // An odd number, whatever the tag.
        let factor = 0x9e37_79b9_7f4a_7c15 ^ u64::from(tag) << 1;
        let number = self.0 ^ number;
        let upper_half = (u128::from(number) * u128::from(factor)) >> 64;
        self.0 = upper_half as u64 ^ number.wrapping_mul(factor);
    }

    fn text(&mut self, text: &str) {
        let (words, rest) = text.as_bytes().as_chunks();
        for word in words {
            self.add(51, u64::from_le_bytes(*word));
        }
        // At most seven bytes, and above them how many there are in all.
        self.add(52, rest.iter().rev().fold(text.len() as u64, |number, byte| number << 8 | u64::from(*byte)));
    }

    fn answer(&mut self, answer: &Result<Answer, DbError>) {
        match answer {
            Ok(answer) => {
                let tag = match answer.tag {
                    Tag::Begin => 20,
                    Tag::Commit => 21,
                    Tag::Rollback => 22,
                    Tag::Other => 23,
                };
                self.add(tag, answer.affected);
                for row in answer.rows.iter() {
                    self.add(24, row.values().len() as u64);
                    self.values(row.values());
                }
            }
            Err(error) => {
                self.add(25, 0);
                self.text(error.sqlstate().code());
            }
        }
    }

    fn values(&mut self, values: &[Value]) {
        for value in values {
            match value {
                Value::Null => self.add(30, 0),
                Value::Bool(value) => self.add(31, u64::from(*value)),
                Value::Int(value) => self.add(50, value.cast_unsigned()),
                Value::Text(text) => self.text(text),
                Value::Json(json) => self.json(json),
                // What time it was is no part of a history.
                Value::Timestamp(_) => self.add(32, 0),
                Value::Array(values) => {
                    self.add(33, values.len() as u64);
                    self.values(values);
                }
            }
        }
    }

    fn json(&mut self, json: &serde_json::Value) {
        match json {
            serde_json::Value::Null => self.add(40, 0),
            serde_json::Value::Bool(value) => self.add(41, u64::from(*value)),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => self.add(50, number.cast_unsigned()),
                None => self.text(&number.to_string()),
            },
            serde_json::Value::String(text) => self.text(text),
            serde_json::Value::Array(values) => {
                self.add(42, values.len() as u64);
                for value in values {
                    self.json(value);
                }
            }
            serde_json::Value::Object(fields) => {
                self.add(43, fields.len() as u64);
                for (key, value) in fields {
                    self.text(key);
                    self.json(value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(values: &[Value]) -> u64 {
        let mut hash = Hash::NEW;
        hash.values(values);
        hash.0
    }

    #[test]
    fn values_that_are_cut_or_typed_otherwise_hash_otherwise() {
        let text = Value::from;
        let lists = [
            vec![text("ab"), text("c")],
            vec![text("a"), text("bc")],
            vec![text("abc")],
            vec![text("abc\0")],
            vec![text("\0abc")],
            vec![text("abcdefgh")],
            vec![text("abcdefgh"), text("")],
            vec![text("abcdefgh\0")],
            vec![Value::Null],
            vec![Value::Int(0)],
            vec![Value::Int(-1)],
            vec![Value::Bool(false)],
            vec![text("")],
            vec![Value::Int(0), Value::Int(0)],
            vec![Value::array([Value::Int(0)].into_iter())],
            vec![Value::Int(1), Value::Int(2)],
            vec![Value::Int(2), Value::Int(1)],
            vec![],
        ];
        for (number, one) in lists.iter().enumerate() {
            for other in &lists[..number] {
                assert_ne!(hash(one), hash(other), "{one:?}, {other:?}");
            }
            assert_eq!(hash(one), hash(&one.clone()));
        }
    }
}
