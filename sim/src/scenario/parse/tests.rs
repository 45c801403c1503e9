//! Scenario files: what is read, and what every mistake is answered.

use std::path::Path;

use expect_test::{Expect, expect};

use super::*;

const GOOD: &str = r#"
title = "The end race"
protocol = "naive"
expected = "violates no_loss"
milestones = ["append_straddled_cutover"]
steps_max = 200

[faults]
crashes = 1

[[actor]]
name = "a1"
role = "appender"
appends = ["orders-1", { stream = "orders-2", events = 3 }]

[[actor]]
name = "r"
role = "rebuilder"
batch = 2

[[actor]]
name = "d"
role = "drainer"
passes = 2
"#;

fn names() -> Vocabulary {
    Vocabulary {
        protocols: vec!["naive", "skip-records"],
        invariants: vec!["no_loss", "no_phantom"],
        milestones: vec!["append_straddled_cutover", "record_drained"],
    }
}

fn parse(text: &str) -> Result<Scenario, FileError> {
    scenario(Path::new("scenarios/end-race.toml"), text, &names())
}

/// The error of [`GOOD`] with `from` replaced by `to`.
#[track_caller]
fn check(from: &str, to: &str, want: &Expect) {
    assert!(GOOD.contains(from), "the good scenario has no {from:?}");
    want.assert_eq(&parse(&GOOD.replacen(from, to, 1)).unwrap_err().to_string());
}

#[test]
fn a_good_scenario_is_read_whole() {
    let scenario = parse(GOOD).unwrap();
    assert_eq!(scenario.name, "end-race");
    assert_eq!(scenario.expected, Expected::Violates { invariant: "no_loss".to_owned() });
    assert_eq!(scenario.faults, FaultBudget { crashes: 1, lost_answers: 0 });
    assert_eq!(scenario.steps_max, 200);
    let role = |index: usize| &scenario.actors[index].role;
    let append = |stream: &str, events| AppendSpec { stream: stream.to_owned(), events };
    assert_eq!(*role(0), Role::Appender { appends: vec![append("orders-1", 1), append("orders-2", 3)] });
    assert_eq!(*role(1), Role::Rebuilder { rebuilds: 1, batch: 2 });
    assert_eq!(*role(2), Role::Drainer { passes: 2 });
}

#[test]
fn unknown_names_are_refused_with_the_nearest() {
    check(
        "\"naive\"",
        "\"naiv\"",
        &expect![[r#"
        scenarios/end-race.toml:3:12: unknown protocol "naiv"
          3 | protocol = "naiv"
            |            ^^^^^^
        expected one of: naive, skip-records
        did you mean "naive"?"#]],
    );
    check(
        "violates no_loss",
        "violates no_los",
        &expect![[r#"
        scenarios/end-race.toml:4:12: unknown invariant "no_los"
          4 | expected = "violates no_los"
            |            ^^^^^^^^^^^^^^^^^
        expected one of: no_loss, no_phantom
        did you mean "no_loss"?"#]],
    );
    check(
        "append_straddled_cutover",
        "append_stradled_cutover",
        &expect![[r#"
        scenarios/end-race.toml:5:15: unknown milestone "append_stradled_cutover"
          5 | milestones = ["append_stradled_cutover"]
            |               ^^^^^^^^^^^^^^^^^^^^^^^^^
        expected one of: append_straddled_cutover, record_drained
        did you mean "append_straddled_cutover"?"#]],
    );
    check(
        "rebuilder",
        "rebuild",
        &expect![[r#"
        scenarios/end-race.toml:18:8: unknown role "rebuild"
         18 | role = "rebuild"
            |        ^^^^^^^^^
        expected one of: appender, rebuilder, drainer
        did you mean "rebuilder"?"#]],
    );
    check(
        "title",
        "titel",
        &expect![[r#"
            scenarios/end-race.toml:2:1: unknown key `titel` in the scenario
              2 | titel = "The end race"
                | ^^^^^
            expected one of: title, protocol, expected, milestones, steps_max, granularity, faults, actor
            did you mean `title`?"#]],
    );
    check(
        "crashes",
        "crash",
        &expect![[r#"
        scenarios/end-race.toml:9:1: unknown key `crash` in [faults]
          9 | crash = 1
            | ^^^^^
        expected one of: crashes, lost_answers"#]],
    );
    check(
        "batch = 2",
        "batch = 2\npasses = 2",
        &expect![[r#"
        scenarios/end-race.toml:20:1: unknown key `passes` in a rebuilder
         20 | passes = 2
            | ^^^^^^
        expected one of: name, role, rebuilds, batch"#]],
    );
}

#[test]
fn missing_keys_are_named() {
    check(
        "protocol = \"naive\"\n",
        "",
        &expect![[r#"
        scenarios/end-race.toml:23:11: the scenario has no `protocol`
         23 | passes = 2
            |           ^
        expected `protocol`: the name of a protocol"#]],
    );
    check(
        "batch = 2\n",
        "",
        &expect![[r#"
        scenarios/end-race.toml:16:1: a rebuilder has no `batch`
         16 | [[actor]]
            | ^^^^^^^^^
        expected `batch`: how many events a batch has"#]],
    );
    check(
        "name = \"d\"\n",
        "",
        &expect![[r#"
        scenarios/end-race.toml:21:1: an actor has no `name`
         21 | [[actor]]
            | ^^^^^^^^^
        expected `name`: its lane's name"#]],
    );
}

#[test]
fn wrong_types_and_sizes_say_what_was_expected() {
    check(
        "\"naive\"",
        "7",
        &expect![[r#"
        scenarios/end-race.toml:3:12: `protocol` is of a wrong type
          3 | protocol = 7
            |            ^
        expected the name of a protocol, found integer"#]],
    );
    check(
        "steps_max = 200",
        "steps_max = 0",
        &expect![[r#"
        scenarios/end-race.toml:6:13: `steps_max` is out of range
          6 | steps_max = 0
            |             ^
        expected an integer from 1 to 100000, found 0"#]],
    );
    check(
        "steps_max = 200",
        "steps_max = -1",
        &expect![[r#"
        scenarios/end-race.toml:6:13: `steps_max` is out of range
          6 | steps_max = -1
            |             ^^
        expected an integer from 1 to 100000, found -1"#]],
    );
    check(
        "steps_max = 200",
        "steps_max = 99999999999999999999999",
        &expect![[r#"
        scenarios/end-race.toml:6:13: `steps_max` is out of range
          6 | steps_max = 99999999999999999999999
            |             ^^^^^^^^^^^^^^^^^^^^^^^
        expected an integer from 1 to 100000, found 99999999999999999999999"#]],
    );
    check(
        "steps_max = 200",
        "steps_max = \"200\"",
        &expect![[r#"
        scenarios/end-race.toml:6:13: `steps_max` is of a wrong type
          6 | steps_max = "200"
            |             ^^^^^
        expected an integer from 1 to 100000, found string"#]],
    );
}

#[test]
fn what_actors_do_is_bounded() {
    check(
        "events = 3",
        "events = 1000000",
        &expect![[r#"
            scenarios/end-race.toml:14:56: `events` is out of range
             14 | appends = ["orders-1", { stream = "orders-2", events = 1000000 }]
                |                                                        ^^^^^^^
            expected an integer from 1 to 64, found 1000000"#]],
    );
    check(
        "[\"orders-1\"",
        "[\"or ders\"",
        &expect![[r#"
        scenarios/end-race.toml:14:12: "or ders" cannot be a stream's id
         14 | appends = ["or ders", { stream = "orders-2", events = 3 }]
            |            ^^^^^^^^^
        expected a stream's id: a letter, then letters, digits, `_` or `-`, at most 24 in all"#]],
    );
    check(
        "\"violates no_loss\"",
        "\"fails\"",
        &expect![[r#"
        scenarios/end-race.toml:4:12: "fails" is no verdict
          4 | expected = "fails"
            |            ^^^^^^^
        expected "holds" or "violates INVARIANT""#]],
    );
    check(
        "\"The end race\"",
        "\" \"",
        &expect![[r#"
        scenarios/end-race.toml:2:9: the title is no line of text
          2 | title = " "
            |         ^^^
        expected one line, not empty, without control characters"#]],
    );
}

#[test]
fn actors_have_names_of_their_own() {
    check(
        "name = \"d\"",
        "name = \"a1\"",
        &expect![[r#"
        scenarios/end-race.toml:22:8: two actors are named "a1"
         22 | name = "a1"
            |        ^^^^
        expected a name of its own for each"#]],
    );
    let many =
        (0..40).map(|i| format!("[[actor]]\nname = \"x{i}\"\nrole = \"drainer\"\n")).collect::<Vec<_>>().concat();
    let (head, _) = GOOD.split_once("[[actor]]").unwrap();
    expect![[r#"
        scenarios/end-race.toml:107:1: `actor` has too many elements
        107 | [[actor]]
            | ^^^^^^^^^
        expected 1 to 32 actors, found 40"#]]
    .assert_eq(&parse(&format!("{head}{many}")).unwrap_err().to_string());
}

#[test]
fn malformed_files_point_at_the_place() {
    check(
        "title =",
        "title",
        &expect![[r#"
        scenarios/end-race.toml:2:7: key with no value, expected `=`
          2 | title "The end race"
            |       ^"#]],
    );
    check(
        "\"naive\"",
        "\"naive",
        &expect![[r#"
        scenarios/end-race.toml:3:18: invalid basic string, expected `"`
          3 | protocol = "naive
            |                  ^"#]],
    );
    check(
        "[faults]",
        "[faults",
        &expect![[r#"
        scenarios/end-race.toml:8:8: unclosed table, expected `]`
          8 | [faults
            |        ^"#]],
    );
    expect![[r#"
        scenarios/end-race.toml:1:1: the scenario has no `title`
          1 | 
            | ^
        expected `title`: a line that says what it shows"#]]
    .assert_eq(&parse("").unwrap_err().to_string());
}

#[test]
fn every_truncation_is_an_error_with_a_place_or_a_scenario() {
    for end in (0..GOOD.len()).filter(|end| GOOD.is_char_boundary(*end)) {
        if let Err(error) = parse(&GOOD[..end]) {
            assert!(error.line >= 1 && error.line <= GOOD[..end].lines().count() + 1, "{end}: {error}");
        }
    }
}

#[test]
fn actors_are_written_as_they_are_read() {
    let scenario = parse(GOOD).unwrap();
    let (head, _) = GOOD.split_once("[[actor]]").unwrap();
    let mut text = head.to_owned();
    write_actors(&scenario.actors, &mut text);
    assert_eq!(parse(&text).unwrap().actors, scenario.actors);
}
