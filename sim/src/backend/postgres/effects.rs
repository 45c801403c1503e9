//! What a statement may do beside its answer, told from its text: so that nobody is asked who waits, what is committed or what is
//! left on a session where the answer is known. In doubt it may do anything.

/// What a statement may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Effects {
    /// Rows that others see when its transaction has committed.
    pub(super) writes: bool,
    /// It ends with less locked than was locked before, so that somebody who waits may go on. (An error always may.)
    pub(super) releases: bool,
    /// Something stays on the session when its transaction is over: a setting, a lock.
    pub(super) lingers: bool,
}

impl Effects {
    /// Of a statement of which nothing is known.
    pub(super) const ANY: Self = Self { writes: true, releases: true, lingers: true };

    /// Of a statement that calls no function which the setup made.
    pub(super) fn of(sql: &str) -> Self {
        let text = sql.to_ascii_lowercase();
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty());
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
        // A setting that is local to its transaction goes with it.
        let settings = text.matches("set_config").count() > text.matches(", true)").count();
        Self {
            writes,
            releases: releases || text.contains("unlock"),
            lingers: lingers || settings || text.contains("advisory"),
        }
    }
}

/// Whether a statement of a setup defines functions, which run on their own or under names that tell nothing.
pub(super) fn defines_functions(sql: &str) -> bool {
    let text = sql.to_ascii_lowercase();
    ["function", "procedure", "trigger", "rule"].iter().any(|word| text.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_be_harmless_is_told_so() {
        let check = |sql: &str, expected: [bool; 3]| {
            let Effects { writes, releases, lingers } = Effects::of(sql);
            assert_eq!([writes, releases, lingers], expected, "{sql}");
        };
        check("BEGIN ISOLATION LEVEL READ COMMITTED", [false; 3]);
        check("SELECT a FROM t FOR UPDATE", [false; 3]);
        check("SELECT a INTO b FROM t", [true, false, false]);
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
            check(unknown, [true; 3]);
        }
        assert!(defines_functions("CREATE OR REPLACE FUNCTION f() ..") && !defines_functions("CREATE TABLE t (a int)"));
    }
}
