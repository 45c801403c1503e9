//! What a statement may do beside its answer, told from its text: so that nobody is asked who waits, what is committed or what is
//! left on a session where the answer is known. In doubt it may do anything.

use std::collections::BTreeMap;

use skiptrace::Statement;

/// Tables, a bit each; see [`Knowledge`].
pub(super) type Tables = u64;

/// Any table.
pub(super) const ALL: Tables = Tables::MAX;

/// What a statement may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effects {
    /// Tables that others see changed when its transaction has committed.
    pub(super) writes: Tables,
    /// Tables in which others may have to wait for its transaction, or it for theirs. (A plain read waits in none of them, unless somebody
    /// keeps readers out.)
    pub(super) locks: Tables,
    /// Tables that it may read or write.
    pub(super) names: Tables,
    /// It ends with less locked than was locked before, so that somebody who waits may go on. (An error always may.)
    pub(super) releases: bool,
    /// Something stays on the session when its transaction is over: a setting, a lock.
    pub(super) lingers: bool,
}

impl Effects {
    /// Of a statement of which nothing is known.
    pub(super) const ANY: Self = Self { writes: ALL, locks: ALL, names: ALL, releases: true, lingers: true };

    /// Of a statement that names every table that it reads or writes, if any; bit `i` stands for `tables[i]`.
    fn of(sql: &str, tables: &[String]) -> Self {
        let text = sql.to_ascii_lowercase();
        let mut words = words_of(&text);
        let verb = words.next().unwrap_or_default();
        let (writes, releases, lingers) = match verb {
            "" | "begin" | "start" | "savepoint" | "release" | "lock" => (false, false, false),
            // Two-phase commits come with the same words.
            "commit" | "end" | "rollback" | "abort" => (words.any(|word| word == "prepared"), true, false),
            "select" | "values" => (words.any(|word| word == "into"), false, false),
            // FOR UPDATE only locks; that it is taken for a write costs a look.
            "with" => (words.any(|word| ["insert", "update", "delete", "merge", "into"].contains(&word)), false, false),
            "insert" | "update" | "delete" | "truncate" => (true, false, false),
            "set" | "reset" => (false, false, true),
            _ => return Self::ANY,
        };
        // A sequence stands in no text but this, and a reset that no table needs would pass it by.
        let counts = text.contains("nextval") || text.contains("setval");
        let writes = writes || counts;
        // A setting that is local to its transaction goes with it.
        let settings = text.matches("set_config").count() > text.matches(", true)").count();
        let advisory = text.contains("advisory");
        // What a prepared transaction has written nobody knows here, nor what else a cascade reaches.
        let names = if text.contains("cascade") || counts || releases && writes { ALL } else { named(&text, tables) };
        let locks = writes || verb == "lock" || words_of(&text).any(|word| ["for", "merge"].contains(&word));
        Self {
            writes: if writes { names } else { 0 },
            locks: match () {
                () if advisory => ALL,
                () if locks => names,
                () => 0,
            },
            names,
            releases: releases || text.contains("unlock"),
            lingers: lingers || settings || advisory,
        }
    }
}

/// What is known of statements by their texts.
#[derive(Default)]
pub(super) struct Knowledge {
    /// Bit `i` of [`Tables`] stands for the table of this name; same names in two schemas share one.
    tables: Vec<String>,
    /// By statement; none where the setup makes what acts under other names than its own, so that no text tells what it does.
    known: Option<BTreeMap<u32, Effects>>,
}

impl Knowledge {
    /// Of statements on what `setup` made: `tables`.
    pub(super) fn new<'a>(setup: &[String], tables: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = Vec::new();
        for table in tables {
            match bare_name(table) {
                Some(name) if names.contains(&name) => {}
                Some(name) if names.len() < Tables::BITS as usize => names.push(name),
                _ => return Self::default(),
            }
        }
        Self { tables: names, known: setup.iter().all(|sql| names_tell_all(sql)).then(BTreeMap::new) }
    }

    /// What a statement may do.
    pub(super) fn effects(&mut self, statement: &Statement) -> Effects {
        let Some(known) = &mut self.known else { return Effects::ANY };
        *known.entry(statement.id()).or_insert_with(|| Effects::of(statement.sql(), &self.tables))
    }

    /// The bit of a table, given with its schema.
    pub(super) fn bit(&self, table: &str) -> Tables {
        let name = bare_name(table);
        let place = name.and_then(|name| self.tables.iter().position(|known| *known == name));
        place.map_or(ALL, |place| 1 << place)
    }
}

/// The tables whose names, without their schemas, are among the words of a statement.
fn named(text: &str, tables: &[String]) -> Tables {
    let mut named = 0;
    for word in words_of(text) {
        for (table, name) in tables.iter().enumerate() {
            if name == word {
                named |= 1 << table;
            }
        }
    }
    named
}

fn words_of(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The name of a table as a statement's words are compared with it, given `schema.table`, quoted or not. None: it could be written otherwise.
fn bare_name(table: &str) -> Option<String> {
    let name = table.rsplit('.').next().unwrap_or_default().trim_matches('"').to_ascii_lowercase();
    let plain = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    plain.then_some(name)
}

/// Whether this statement of a setup makes nothing that acts on its own, or under another name. A foreign key does, without any action
/// too: it locks rows of the other table, whose own rows cannot be put back under those that refer to them.
fn names_tell_all(setup: &str) -> bool {
    const OTHERWISE: [&str; 8] =
        ["function", "procedure", "trigger", "rule", "view", "inherits", "partition", "references"];
    let text = setup.to_ascii_lowercase();
    !OTHERWISE.iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effects(sql: &str) -> Effects {
        Effects::of(sql, &["t".to_owned(), "u".to_owned()])
    }

    #[test]
    fn only_what_is_known_to_be_harmless_is_told_so() {
        let check = |sql: &str, expected: [bool; 3]| {
            let Effects { writes, releases, lingers, .. } = effects(sql);
            assert_eq!([writes != 0, releases, lingers], expected, "{sql}");
        };
        check("BEGIN ISOLATION LEVEL READ COMMITTED", [false; 3]);
        check("SELECT a FROM t FOR UPDATE", [false; 3]);
        check("SELECT a INTO u FROM t", [true, false, false]);
        check("WITH l AS (SELECT pid FROM pg_locks) SELECT pid FROM l", [false; 3]);
        check("LOCK TABLE t", [false; 3]);
        check("\n  with gone as (delete from t returning *) SELECT * FROM gone", [true, false, false]);
        check("COMMIT", [false, true, false]);
        check("ROLLBACK TO s", [false, true, false]);
        check("COMMIT PREPARED 'x'", [true, true, false]);
        check("SELECT pg_advisory_lock(1)", [false, false, true]);
        check("SELECT pg_advisory_unlock(1)", [false, true, true]);
        check("SELECT set_config('a.b', $1, true)", [false; 3]);
        check("SELECT set_config('a.b', $1, false)", [false, false, true]);
        check("SET enable_seqscan = off", [false, false, true]);
        for unknown in ["DO $$ $$", "CALL p()", "EXECUTE s", "CREATE TABLE t ()", "LISTEN c", "PREPARE TRANSACTION 'x'"]
        {
            assert_eq!(effects(unknown), Effects::ANY, "{unknown}");
        }
    }

    #[test]
    fn tables_are_told_by_their_names() {
        let check = |sql: &str, expected: [Tables; 3]| {
            let Effects { writes, locks, names, .. } = effects(sql);
            assert_eq!([writes, locks, names], expected, "{sql}");
        };
        check("BEGIN", [0, 0, 0]);
        check("INSERT INTO s.\"t\" VALUES (1)", [1, 1, 1]);
        check("UPDATE T SET a = (SELECT b FROM u)", [3, 3, 3]);
        check("SELECT t.a FROM u", [0, 0, 3]);
        check("SELECT FROM u FOR SHARE", [0, 2, 2]);
        check("SELECT a_t FROM tt", [0, 0, 0]);
        check("LOCK TABLE u", [0, 2, 2]);
        check("TRUNCATE t", [1, 1, 1]);
        check("TRUNCATE t CASCADE", [ALL, ALL, ALL]);
        check("COMMIT PREPARED 'x'", [ALL, ALL, ALL]);
        check("SELECT nextval('q')", [ALL, ALL, ALL]);
        check("SELECT pg_advisory_lock(1) FROM t", [0, ALL, 1]);
    }

    #[test]
    fn nothing_is_known_where_names_do_not_tell() {
        let insert = Statement::new("test", "INSERT INTO t VALUES (1)");
        let writes = |setup: &str, table: &str| Knowledge::new(&[setup.to_owned()], [table]).effects(&insert).writes;
        assert_eq!(writes("CREATE TABLE t (a int)", "public.t"), 1);
        assert_eq!(writes("CREATE TABLE t (a int)", "public.u"), 0);
        for setup in ["CREATE OR REPLACE FUNCTION f() ..", "CREATE TRIGGER ..", "CREATE TABLE u (a int REFERENCES t)"] {
            assert_eq!(writes(setup, "public.t"), ALL, "{setup}");
        }
        assert_eq!(writes("CREATE TABLE \"t-1\" ()", "public.\"t-1\""), ALL, "a name that is no word");
        let known = Knowledge::new(&[], ["a.t", "b.t", "a.u"]);
        assert_eq!([known.bit("t"), known.bit("b.\"u\""), known.bit("v")], [1, 2, ALL]);
    }
}
