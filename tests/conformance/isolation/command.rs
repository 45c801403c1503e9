//! What a session sends: SQL over a few keys, and what its answer says about them.

use skiptrace::{Answer, Value};

use super::history::{Kind, Op};
use crate::differential::choices::Choices;

pub(crate) const KEYS: usize = 4;

/// Where the rows are, and what they hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ground {
    pub(crate) kind: Kind,
    /// A table for each key: what a transaction reads and writes is known by tables where it is SERIALIZABLE.
    pub(crate) apart: bool,
}

impl Ground {
    pub(crate) fn setup(self) -> String {
        let ty = if self.kind == Kind::Lists { "int[]" } else { "int" };
        let mut tables: Vec<String> = (0..KEYS).map(|key| self.table(key)).collect();
        tables.dedup();
        let create = tables.iter().map(|table| format!("CREATE TABLE {table} (k int PRIMARY KEY, v {ty} NOT NULL)"));
        create.collect::<Vec<_>>().join(";\n")
    }

    fn table(self, key: usize) -> String {
        if self.apart { format!("t{key}") } else { "t".to_owned() }
    }

    /// What a row holds after `$1` was written.
    fn written(self) -> &'static str {
        if self.kind == Kind::Lists { "v || $1::int" } else { "$1::int" }
    }

    fn read(self, key: usize) -> String {
        format!("SELECT v FROM {} WHERE k = {key}", self.table(key))
    }

    fn update(self, key: usize) -> String {
        format!("UPDATE {} SET v = {} WHERE k = {key} RETURNING v", self.table(key), self.written())
    }

    /// Reads all keys.
    pub(crate) fn look(self) -> Command {
        Command::new(self.read_each(&[0, 1, 2, 3]), &[], Shape::Each(vec![0, 1, 2, 3]))
    }

    fn read_each(self, keys: &[usize]) -> String {
        let reads: Vec<String> = keys.iter().map(|key| format!("({})", self.read(*key))).collect();
        format!("SELECT {}", reads.join(", "))
    }

    pub(crate) fn draw(self, choices: &mut Choices<'_>) -> Command {
        // Few keys, so that transactions meet.
        let key = choices.of(&[0, 0, 1, 1, 2, 3]);
        let other = (key + 1 + choices.below(KEYS - 1)) % KEYS;
        let table = self.table(key);
        match choices.below(16) {
            0..=3 => Command::new(self.read(key), &[], Shape::One(key)),
            4 | 5 => Command::new(self.update(key), &[key], Shape::One(key)),
            6..=9 => {
                let (new, merged) = match self.kind {
                    Kind::Lists => ("ARRAY[$1::int]::int[]", format!("{table}.v || excluded.v")),
                    Kind::Registers => ("$1::int", "excluded.v".to_owned()),
                };
                let insert = format!("INSERT INTO {table} VALUES ({key}, {new})");
                let sql = format!("{insert} ON CONFLICT (k) DO UPDATE SET v = {merged} RETURNING v");
                Command::new(sql, &[key], Shape::One(key))
            }
            10 => {
                let lock = choices.of(&["FOR UPDATE", "FOR SHARE", "FOR NO KEY UPDATE", "FOR KEY SHARE"]);
                Command::new(format!("{} {lock}", self.read(key)), &[], Shape::One(key))
            }
            11 | 12 => Command::new(self.read_each(&[key, other]), &[], Shape::Each(vec![key, other])),
            13 => {
                let (update, read) = (self.update(key), self.read(other));
                let sql = format!("WITH w AS ({update}) SELECT (SELECT v FROM w), ({read})");
                Command::new(sql, &[key], Shape::Each(vec![key, other]))
            }
            14 if !self.apart => {
                let sql = format!("UPDATE t SET v = {} RETURNING k, v", self.written());
                Command::new(sql, &[0, 1, 2, 3], Shape::Rows)
            }
            14 => self.look(),
            _ if !self.apart => Command::new("SELECT k, v FROM t".to_owned(), &[], Shape::Rows),
            _ => self.look(),
        }
    }
}

/// How a statement answers.
#[derive(Clone, Debug)]
enum Shape {
    /// A row with a key's value, or none.
    One(usize),
    /// One row, a column a key.
    Each(Vec<usize>),
    /// A row for each key that is there.
    Rows,
}

/// A statement that reads or writes.
#[derive(Clone, Debug)]
pub(crate) struct Command {
    pub(crate) sql: String,
    /// The keys that it writes, if they are there: all the same value, its parameter.
    writes: Vec<usize>,
    shape: Shape,
}

impl Command {
    fn new(sql: String, writes: &[usize], shape: Shape) -> Self {
        Self { sql, writes: writes.to_vec(), shape }
    }

    /// Whether it locks the rows that it reads, so that nobody changes them. KEY SHARE lets everything but the key be changed.
    pub(crate) fn locks(&self) -> bool {
        self.sql.contains(" FOR ") && !self.sql.ends_with("FOR KEY SHARE")
    }

    pub(crate) fn writes(&self) -> bool {
        !self.writes.is_empty()
    }

    /// What it would have done: it failed.
    pub(crate) fn intended(&self, value: i64) -> Vec<Op> {
        self.writes.iter().map(|key| Op::Write { key: *key, value }).collect()
    }

    /// What it did. What it was to write and did not find it has read: there was nothing.
    pub(crate) fn done(&self, answer: &Answer, value: i64) -> Vec<Op> {
        let mut found: Vec<(usize, Vec<i64>)> = match &self.shape {
            Shape::One(key) => vec![(*key, answer.rows.first().map_or_else(Vec::new, |row| values(row.value(0))))],
            Shape::Each(keys) => {
                let row = answer.rows.first().expect("one row");
                keys.iter().zip(row.values()).map(|(key, column)| (*key, values(column))).collect()
            }
            Shape::Rows => (0..KEYS).map(|key| (key, Vec::new())).collect(),
        };
        if let Shape::Rows = self.shape {
            for row in answer.rows.iter() {
                found[usize::try_from(row.int(0)).expect("a key")].1 = values(row.value(1));
            }
        }
        let mut ops = Vec::new();
        for (key, values) in found {
            if self.writes.contains(&key) && !values.is_empty() {
                ops.push(Op::Write { key, value });
            }
            ops.push(Op::Read { key, values });
        }
        ops
    }
}

fn values(held: &Value) -> Vec<i64> {
    match held {
        Value::Null => Vec::new(),
        Value::Int(value) => vec![*value],
        Value::Array(items) => items.iter().flat_map(values).collect(),
        other => panic!("a list or a register holds {other:?}"),
    }
}
