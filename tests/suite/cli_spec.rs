//! `skiptrace spec` as a user meets it: what isolationtester would print, the difference from what was expected, and the exit codes.

use std::fs;
use std::path::PathBuf;

use expect_test::{Expect, expect};
use skiptrace_sim::exit::Exit;

use crate::cli_usage::{Ran, skiptrace};

/// A folder with these files; `spec` in the arguments is the first of them.
struct Files(tempfile::TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("written");
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs `skiptrace spec`; words that name a file here become its path, which is called DIR in what comes back.
    fn spec(&self, words: &[&str]) -> Ran {
        let paths: Vec<String> = words
            .iter()
            .map(
                |word| {
                    if self.path(word).exists() { self.path(word).display().to_string() } else { (*word).to_owned() }
                },
            )
            .collect();
        let args: Vec<&str> = ["spec"].into_iter().chain(paths.iter().map(String::as_str)).collect();
        let mut ran = skiptrace(&args);
        let folder = self.0.path().to_str().expect("text");
        (ran.out, ran.err) = (ran.out.replace(folder, "DIR"), ran.err.replace(folder, "DIR"));
        ran
    }
}

/// What a file's run comes to.
#[track_caller]
fn check(files: &Files, words: &[&str], exit: Exit, out: &Expect, err: &Expect) {
    let ran = files.spec(words);
    out.assert_eq(&ran.out);
    err.assert_eq(&ran.err);
    assert_eq!(ran.exit, exit);
}

const LOST: &str = "
setup    { CREATE TABLE t (id int PRIMARY KEY, n int, word text); INSERT INTO t VALUES (1, 0, 'a'), (2, 10, 'bcd'); }
teardown { DROP TABLE t; }
session s1
step b1 { BEGIN; }
step u1 { UPDATE t SET n = n + 1 WHERE id = 1; SELECT 'twice' AS what; }
step c1 { COMMIT; COMMIT; }
session s2
step u2 { UPDATE t SET n = n + 1 WHERE id = 1; }
step r2 { SELECT * FROM t ORDER BY id; SELECT 1/0 AS nothing; SELECT 'never'; }
";

#[test]
fn a_wait_several_results_a_warning_and_an_error() {
    let text = format!("{LOST}\npermutation b1 u1 u2 c1 r2\n");
    check(
        &Files::new(&[("lost.spec", &text)]),
        &["lost.spec"],
        Exit::Expected,
        &expect![[r#"
            Parsed test spec with 2 sessions

            starting permutation: b1 u1 u2 c1 r2
            step b1: BEGIN;
            step u1: UPDATE t SET n = n + 1 WHERE id = 1; SELECT 'twice' AS what;
            what 
            -----
            twice
            (1 row)

            step u2: UPDATE t SET n = n + 1 WHERE id = 1; <waiting ...>
            s1: WARNING:  there is no transaction in progress
            step c1: COMMIT; COMMIT;
            step u2: <... completed>
            step r2: SELECT * FROM t ORDER BY id; SELECT 1/0 AS nothing; SELECT 'never';
            id| n|word
            --+--+----
             1| 2|a   
             2|10|bcd 
            (2 rows)

            ERROR:  division by zero
        "#]],
        &expect![""],
    );
}

#[test]
fn both_databases_say_the_same() {
    let text = format!("{LOST}\npermutation b1 u1 u2 c1 r2\npermutation u2(*) b1 u1 r2 c1\n");
    let files = Files::new(&[("lost.spec", &text)]);
    check(&files, &["lost.spec", "--on", "model", "--on", "postgres"], Exit::Expected, &expect![""], &expect![""]);
}

/// What needs several statements a message or time that passes, and so cannot stand in `tests/conformance/specs`.
#[test]
fn specs_of_whole_messages_come_out_alike() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/suite/specs");
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let both = ["spec", "--on", "model", "--on", "postgres"];
    let args: Vec<&str> = both.into_iter().chain(files.iter().map(String::as_str)).collect();
    let ran = skiptrace(&args);
    assert_eq!((ran.out.as_str(), ran.err.as_str(), ran.exit), ("", "", Exit::Expected));
}

/// isolationtester asks for the next result for ever.
#[test]
fn a_copy_is_refused() {
    let text = "session s step out { COPY (SELECT 1) TO STDOUT; } step in { COPY pg_class FROM STDIN; } step one { SELECT 1 AS one; }\n\
                permutation out\npermutation in\npermutation one\n";
    let files = Files::new(&[("copy.spec", text)]);
    for backend in ["postgres", "model"] {
        let ran = files.spec(&["copy.spec", "--on", backend]);
        assert_eq!(ran.exit, Exit::Refused, "{}", ran.err);
        assert!(ran.err.contains("COPY") && ran.out.contains("(1 row)"), "{}{}", ran.out, ran.err);
    }
}

#[test]
fn a_connection_that_the_server_ends() {
    let text = "session s step end { SELECT pg_terminate_backend(pg_backend_pid()); }\n\
                session t step look { SELECT 1 AS one; }\npermutation end look\n";
    check(
        &Files::new(&[("end.spec", text)]),
        &["end.spec", "--on", "postgres"],
        Exit::Expected,
        &expect![[r#"
            Parsed test spec with 2 sessions

            starting permutation: end look
            step end: SELECT pg_terminate_backend(pg_backend_pid());
            FATAL:  terminating connection due to administrator command
            server closed the connection unexpectedly
            	This probably means the server terminated abnormally
            	before or while processing the request.

            step look: SELECT 1 AS one;
            one
            ---
              1
            (1 row)

        "#]],
        &expect![""],
    );
}

#[test]
fn the_difference_from_the_nearest_of_what_was_expected() {
    let text = "session s step a { SELECT 1 AS n; } permutation a\n";
    let right =
        "Parsed test spec with 1 sessions\n\nstarting permutation: a\nstep a: SELECT 1 AS n;\nn\n-\n1\n(1 row)\n\n";
    let files = Files::new(&[
        ("one.spec", text),
        ("one.out", right),
        ("one_1.out", &right.replace("\n1\n", "\n2\n")),
        ("far.out", "nothing like it\n"),
    ]);
    let same = ["one.spec", "--expect", "one_1.out", "--expect", "one.out"];
    check(&files, &same, Exit::Expected, &expect![""], &expect![""]);
    let ran = files.spec(&["one.spec", "--expect", "far.out", "--expect", "one_1.out"]);
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Violated, ""));
    assert!(ran.out.starts_with("--- DIR/one_1.out\n+++ found\n@@ -4,6 +4,6 @@\n"), "{}", ran.out);
    assert!(ran.out.contains("\n-2\n+1\n"), "{}", ran.out);
}

#[test]
fn what_is_refused_is_named_with_its_permutations() {
    let text = "session s step a { SELECT 1 AS n; } step m { MERGE INTO t USING t AS s ON true WHEN MATCHED THEN DELETE; }\n\
                permutation a\npermutation a m\n";
    let files = Files::new(&[("merge.spec", text)]);
    let ran = files.spec(&["merge.spec"]);
    assert_eq!(ran.exit, Exit::Refused);
    assert!(ran.err.contains("refused: DIR/merge.spec: the model does not support MERGE"), "{}", ran.err);
    assert!(ran.err.contains("in 1 of 2 permutations\n  permutation a m\n"), "{}", ran.err);
}

#[test]
fn a_step_that_never_comes_back_is_stuck() {
    let text = "session s1 step a { SELECT pg_advisory_lock(1); }\nsession s2 step b { SELECT pg_advisory_lock(1); } step c { SELECT 2; }\n\
                permutation a b c\n";
    let ran = Files::new(&[("stuck.spec", text)]).spec(&["stuck.spec"]);
    assert_eq!(ran.exit, Exit::Stuck);
    expect![[r#"
        stuck: DIR/stuck.spec: step b never comes back: in 1 of 1 permutations
    "#]]
    .assert_eq(&ran.err);
}

/// Permutations that nobody wrote down ask for what cannot be, too. Of many, a few are named.
#[test]
fn implied_permutations_that_are_stuck_are_counted() {
    let text = "setup { CREATE TABLE t (n int); INSERT INTO t VALUES (1); } teardown { DROP TABLE t; }\n\
                session s1 step a { BEGIN; } step b { UPDATE t SET n = 2; } step c { COMMIT; }\n\
                session s2 step d { BEGIN; } step e { UPDATE t SET n = 3; } step f { COMMIT; }\n\
                session s3 step g { SELECT 1; }\n";
    let ran = Files::new(&[("implied.spec", text)]).spec(&["implied.spec"]);
    assert_eq!(ran.exit, Exit::Stuck);
    expect![[r#"
        stuck: DIR/implied.spec: step e never comes back: in 21 of 140 permutations
          permutation a b d e f c g
          permutation a b d e f g c
          permutation a b d e g f c
          permutation a b d g e f c
          permutation a b g d e f c
          and 16 more, which --format json lists
        stuck: DIR/implied.spec: step b never comes back: in 21 of 140 permutations
          permutation a d e b c f g
          permutation a d e b c g f
          permutation a d e b g c f
          permutation a d e g b c f
          permutation a d g e b c f
          and 16 more, which --format json lists
        hint: a session that waits can take no step; --all-permutations leaves out what asks one to
    "#]]
    .assert_eq(&ran.err);
}

/// isolationtester asks whether one of its sessions is in the way, and a prepared transaction has none: it waits for the answer.
#[test]
fn a_step_that_waits_for_a_prepared_transaction_is_stuck() {
    let text = "setup { CREATE TABLE t (n int); INSERT INTO t VALUES (1); } teardown { DROP TABLE t; }\n\
                session s1 step a { BEGIN; UPDATE t SET n = 2; PREPARE TRANSACTION 'x'; } step c { COMMIT PREPARED 'x'; }\n\
                session s2 step b { UPDATE t SET n = 3; }\npermutation a c b\npermutation a b c\n";
    let ran = Files::new(&[("prepared.spec", text)]).spec(&["prepared.spec"]);
    assert_eq!(ran.exit, Exit::Stuck);
    expect![[r#"
        stuck: DIR/prepared.spec: step b never comes back: in 1 of 2 permutations
          permutation a b c
    "#]]
    .assert_eq(&ran.err);
}

#[test]
fn what_cannot_be_read_is_told_with_its_place() {
    let files = Files::new(&[("bad.spec", "session s\nstep a { SELECT 1 }\npermutation b\n"), ("ok.spec", LOST)]);
    check(
        &files,
        &["bad.spec"],
        Exit::Usage,
        &expect![""],
        &expect![[r#"
            error: DIR/bad.spec:3:13: expected a step, one of a; found b
        "#]],
    );
    let both = ["bad.spec", "ok.spec", "--expect", "ok.spec"];
    let want = expect![[r#"
        error: --expect tells what one file prints: give one FILE
    "#]];
    check(&files, &both, Exit::Usage, &expect![""], &want);
    let broken = Files::new(&[("setup.spec", "setup { SELECT 1/0; } session s step a { SELECT 1; }")]);
    let ran = broken.spec(&["setup.spec"]);
    assert_eq!(
        (ran.exit, ran.err.as_str()),
        (Exit::Usage, "error: DIR/setup.spec: setup failed: ERROR:  division by zero\n")
    );
}

#[test]
fn json_has_a_line_a_permutation() {
    let files = Files::new(&[("one.spec", "session s step a { SELECT 1 AS n; }")]);
    check(
        &files,
        &["one.spec", "--format", "json"],
        Exit::Expected,
        &expect![[r#"
            {"file":"DIR/one.spec","on":"model","permutation":["a"],"end":"done","reason":null,"compared":null,"output":"\nstarting permutation: a\nstep a: SELECT 1 AS n;\nn\n-\n1\n(1 row)\n\n"}
        "#]],
        &expect![""],
    );
}

#[test]
fn json_has_a_line_an_outcome_where_every_order_is_taken() {
    let text = "session s1 step a { SELECT 1 AS n; }\nsession s2 step b { SELECT 2 AS n; }";
    check(
        &Files::new(&[("two.spec", text)]),
        &["two.spec", "--all-permutations", "--format", "json"],
        Exit::Expected,
        &expect![[r#"
            {"file":"DIR/two.spec","on":"model","permutation":["a","b"],"end":"done","reason":null,"interleavings":1,"run":1,"cut":1,"output":"\nstarting permutation: a b\nstep a: SELECT 1 AS n;\nn\n-\n1\n(1 row)\n\nstep b: SELECT 2 AS n;\nn\n-\n2\n(1 row)\n\n"}
        "#]],
        &expect![""],
    );
}

/// A server sends whatever it is asked for; of that, so much is taken.
#[test]
fn what_a_message_returns_is_limited_on_a_server() {
    let text = "session s step a { SELECT 1 AS n; }\n\
                step few { SELECT 'from here on', repeat('x', 1000000) AS x FROM generate_series(1, 8); }\n\
                step many { SELECT repeat('x', 1000000) AS x FROM generate_series(1, 20); }\n\
                permutation many a\npermutation few a\npermutation a";
    let ran = Files::new(&[("much.spec", text)]).spec(&["much.spec", "--on", "postgres"]);
    assert_eq!(ran.exit, Exit::Refused);
    expect![[r#"
        refused: DIR/much.spec: a message that returns more than 16777216 bytes: in 1 of 3 permutations
          permutation many a
    "#]]
    .assert_eq(&ran.err);
    let after = ran.out.split("starting permutation: few a").nth(1).expect("it goes on with the next permutation");
    assert!(
        after.matches("from here on").count() == 9
            && after.ends_with("permutation: a\nstep a: SELECT 1 AS n;\nn\n-\n1\n(1 row)\n\n")
    );
}
