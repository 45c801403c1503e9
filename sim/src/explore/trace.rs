//! The trace of a run: its hash, always; its history, where somebody will read it.
//!
//! What is hashed is written down in words of 64 bits, little-endian: a tag and a small number share one; a text follows its length.
//! Nothing that differs from process to process (an address, a statement's id) may get in. The hash is XXH3 (64 bits, no seed) over all
//! of it: its algorithm is fixed for good and gives the same everywhere, as schedule files and reports need it.

use skiptrace::{Answer, DbError, Statement, Tag, Value};
use xxhash_rust::xxh3::xxh3_64;

use super::history::{Effect, History, StepRecord};
use super::schedule::{Act, Choice};

/// See the module.
pub(crate) struct Trace {
    /// What is hashed, so far.
    written: Vec<u8>,
    /// A hash of name and text by statement id; 0: not computed yet.
    keys: Vec<u64>,
    history: Option<History>,
    statements: u32,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { written: Vec::new(), keys: Vec::new(), history: None, statements: 0 }
    }

    pub(crate) fn begin(&mut self, keep_history: bool) {
        self.written.clear();
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
        xxh3_64(&self.written)
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
        self.tagged(1, u64::from(choice.actor) << 8 | act);
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
        self.word(key);
        self.values(params);
        if let Some(record) = self.record() {
            record.sent = Some((statement.clone(), params.to_vec()));
        }
    }

    pub(crate) fn answered(&mut self, answer: &Result<Answer, DbError>) {
        self.tagged(10, 0);
        self.answer(answer);
        self.effect(|| Effect::Answered(answer.clone()));
    }

    pub(crate) fn answer_lost(&mut self, answer: &Result<Answer, DbError>) {
        self.tagged(11, 0);
        self.answer(answer);
        self.effect(|| Effect::AnswerLost);
    }

    pub(crate) fn waits(&mut self, blockers: &[usize]) {
        self.tagged(12, 0);
        let actor = |&blocker: &usize| u8::try_from(blocker).expect("at most 64 actors");
        self.effect(|| Effect::Waits(blockers.iter().map(actor).collect()));
    }

    pub(crate) fn pause_ended(&mut self) {
        self.tagged(13, 0);
        self.effect(|| Effect::PauseEnded);
    }

    pub(crate) fn crashed(&mut self) {
        self.tagged(14, 0);
        self.effect(|| Effect::Crashed);
    }

    pub(crate) fn restarted(&mut self) {
        self.tagged(15, 0);
        self.effect(|| Effect::Restarted);
    }

    pub(crate) fn woken(&mut self, actor: usize, answer: &Result<Answer, DbError>) {
        let actor = u8::try_from(actor).expect("at most 64 actors");
        self.tagged(16, actor.into());
        self.answer(answer);
        if let Some(record) = self.record() {
            record.woken.push((actor, answer.clone()));
        }
    }

    pub(crate) fn has_snapshot(&mut self) {
        self.tagged(17, 0);
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

    fn answer(&mut self, answer: &Result<Answer, DbError>) {
        match answer {
            Ok(answer) => {
                let tag = match answer.tag {
                    Tag::Begin => 20,
                    Tag::Commit => 21,
                    Tag::Rollback => 22,
                    Tag::Other => 23,
                };
                self.tagged(tag, answer.affected);
                for row in &answer.rows {
                    self.tagged(24, row.0.len() as u64);
                    self.values(&row.0);
                }
            }
            Err(error) => {
                self.tagged(25, 0);
                self.text(error.sqlstate().code());
            }
        }
    }

    fn values(&mut self, values: &[Value]) {
        for value in values {
            match value {
                Value::Null => self.tagged(30, 0),
                Value::Bool(value) => self.tagged(31, u64::from(*value)),
                Value::Int(value) => self.int(*value),
                Value::Text(text) => self.text(text),
                Value::Json(json) => self.json(json),
                // What time it was is no part of a history.
                Value::Timestamp(_) => self.tagged(32, 0),
                Value::Array(values) => {
                    self.tagged(33, values.len() as u64);
                    self.values(values);
                }
            }
        }
    }

    fn json(&mut self, json: &serde_json::Value) {
        match json {
            serde_json::Value::Null => self.tagged(40, 0),
            serde_json::Value::Bool(value) => self.tagged(41, u64::from(*value)),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(number) => self.int(number),
                None => self.text(&number.to_string()),
            },
            serde_json::Value::String(text) => self.text(text),
            serde_json::Value::Array(values) => {
                self.tagged(42, values.len() as u64);
                for value in values {
                    self.json(value);
                }
            }
            serde_json::Value::Object(fields) => {
                self.tagged(43, fields.len() as u64);
                for (key, value) in fields {
                    self.text(key);
                    self.json(value);
                }
            }
        }
    }

    fn int(&mut self, value: i64) {
        let mut words = [0; 16];
        words[..8].copy_from_slice(&tagged(50, 0).to_le_bytes());
        words[8..].copy_from_slice(&value.to_le_bytes());
        self.written.extend_from_slice(&words);
    }

    fn text(&mut self, text: &str) {
        self.tagged(51, text.len() as u64);
        self.written.extend_from_slice(text.as_bytes());
    }

    fn tagged(&mut self, tag: u8, number: u64) {
        self.word(tagged(tag, number));
    }

    fn word(&mut self, word: u64) {
        self.written.extend_from_slice(&word.to_le_bytes());
    }
}

/// A tag and a number that has, or is compared by, its lower 56 bits.
fn tagged(tag: u8, number: u64) -> u64 {
    u64::from(tag) << 56 | (number & (u64::MAX >> 8))
}
