//! The trace of a run: its hash, always; its history, where somebody will read it.
//!
//! What is hashed is written into one buffer and hashed when the run ends: the steps pay for a copy of a few words only.
//! Nothing that differs from process to process (an address, a statement's id) may get in.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;
use skiptrace::{Answer, DbError, Statement, Tag, Value};

use super::history::{Effect, History, StepRecord};
use super::schedule::{Act, Choice};

/// See the module.
pub(crate) struct Trace {
    bytes: Vec<u8>,
    /// A hash of name and text by statement id; 0: not computed yet.
    keys: Vec<u64>,
    history: Option<History>,
    statements: u32,
}

impl Trace {
    pub(crate) fn new() -> Self {
        Self { bytes: Vec::with_capacity(16 * 1024), keys: Vec::new(), history: None, statements: 0 }
    }

    pub(crate) fn begin(&mut self, keep_history: bool) {
        self.bytes.clear();
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
        hash(&self.bytes)
    }

    pub(crate) fn statements(&self) -> u32 {
        self.statements
    }

    pub(crate) fn step(&mut self, choice: Choice) {
        self.byte(choice.actor);
        self.byte(match choice.act {
            Act::Step => 0,
            Act::LoseAnswer => 1,
            Act::Crash => 2,
        });
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
        for value in params {
            self.value(value);
        }
        if let Some(record) = self.record() {
            record.sent = Some((statement.clone(), params.to_vec()));
        }
    }

    pub(crate) fn answered(&mut self, answer: &Result<Answer, DbError>) {
        self.byte(10);
        self.answer(answer);
        self.effect(|| Effect::Answered(answer.clone()));
    }

    pub(crate) fn answer_lost(&mut self, answer: &Result<Answer, DbError>) {
        self.byte(11);
        self.answer(answer);
        self.effect(|| Effect::AnswerLost);
    }

    pub(crate) fn waits(&mut self, blockers: &[usize]) {
        self.byte(12);
        let actor = |&blocker: &usize| u8::try_from(blocker).expect("at most 64 actors");
        self.effect(|| Effect::Waits(blockers.iter().map(actor).collect()));
    }

    pub(crate) fn pause_ended(&mut self) {
        self.byte(13);
        self.effect(|| Effect::PauseEnded);
    }

    pub(crate) fn crashed(&mut self) {
        self.byte(14);
        self.effect(|| Effect::Crashed);
    }

    pub(crate) fn restarted(&mut self) {
        self.byte(15);
        self.effect(|| Effect::Restarted);
    }

    pub(crate) fn woken(&mut self, actor: usize, answer: &Result<Answer, DbError>) {
        let actor = u8::try_from(actor).expect("at most 64 actors");
        self.byte(16);
        self.byte(actor);
        self.answer(answer);
        if let Some(record) = self.record() {
            record.woken.push((actor, answer.clone()));
        }
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
        let key = hash(format!("{}\0{}", statement.name(), statement.sql()).as_bytes()).max(1);
        if self.keys.len() <= id {
            self.keys.resize(id + 1, 0);
        }
        self.keys[id] = key;
        key
    }

    fn answer(&mut self, answer: &Result<Answer, DbError>) {
        match answer {
            Ok(answer) => {
                self.byte(match answer.tag {
                    Tag::Begin => 20,
                    Tag::Commit => 21,
                    Tag::Rollback => 22,
                    Tag::Other => 23,
                });
                self.word(answer.affected);
                for row in &answer.rows {
                    self.byte(24);
                    for value in &row.0 {
                        self.value(value);
                    }
                }
            }
            Err(error) => {
                self.byte(25);
                self.bytes.extend_from_slice(error.sqlstate().code().as_bytes());
            }
        }
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.byte(30),
            Value::Bool(value) => self.bytes.extend_from_slice(&[31, u8::from(*value)]),
            Value::Int(value) => {
                self.byte(32);
                self.word(value.cast_unsigned());
            }
            Value::Text(text) => {
                self.byte(33);
                self.text(text);
            }
            Value::Json(json) => {
                self.byte(34);
                self.json(json);
            }
            // What time it was is no part of a history.
            Value::Timestamp(_) => self.byte(35),
            Value::Array(values) => {
                self.byte(36);
                self.word(values.len() as u64);
                for value in values.iter() {
                    self.value(value);
                }
            }
        }
    }

    fn json(&mut self, json: &serde_json::Value) {
        match json {
            serde_json::Value::Null => self.byte(40),
            serde_json::Value::Bool(value) => self.bytes.extend_from_slice(&[41, u8::from(*value)]),
            serde_json::Value::Number(number) => {
                self.byte(42);
                match number.as_i64() {
                    Some(number) => self.word(number.cast_unsigned()),
                    None => self.text(&number.to_string()),
                }
            }
            serde_json::Value::String(text) => {
                self.byte(43);
                self.text(text);
            }
            serde_json::Value::Array(values) => {
                self.byte(44);
                self.word(values.len() as u64);
                for value in values {
                    self.json(value);
                }
            }
            serde_json::Value::Object(fields) => {
                self.byte(45);
                self.word(fields.len() as u64);
                for (key, value) in fields {
                    self.text(key);
                    self.json(value);
                }
            }
        }
    }

    fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    fn word(&mut self, word: u64) {
        self.bytes.extend_from_slice(&word.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.word(text.len() as u64);
        self.bytes.extend_from_slice(text.as_bytes());
    }
}

/// Fixed keys: the hash is part of schedule files and reports.
fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(0x736b_6970_7472_6163, 0x6869_7374_6f72_7931);
    hasher.write(bytes);
    hasher.finish()
}
