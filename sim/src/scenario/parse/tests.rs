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
fn check(from: &str, to: &str, want: Expect) {
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
    check("\"naive\"", "\"naiv\"", expect![]);
    check("violates no_loss", "violates no_los", expect![]);
    check("append_straddled_cutover", "append_stradled_cutover", expect![]);
    check("rebuilder", "rebuild", expect![]);
    check("title", "titel", expect![]);
    check("crashes", "crash", expect![]);
    check("batch = 2", "batch = 2\npasses = 2", expect![]);
}

#[test]
fn missing_keys_are_named() {
    check("protocol = \"naive\"\n", "", expect![]);
    check("batch = 2\n", "", expect![]);
    check("name = \"d\"\n", "", expect![]);
}

#[test]
fn wrong_types_and_sizes_say_what_was_expected() {
    check("\"naive\"", "7", expect![]);
    check("steps_max = 200", "steps_max = 0", expect![]);
    check("steps_max = 200", "steps_max = -1", expect![]);
    check("steps_max = 200", "steps_max = 99999999999999999999999", expect![]);
    check("steps_max = 200", "steps_max = \"200\"", expect![]);
    check("events = 3", "events = 1000000", expect![]);
    check("[\"orders-1\"", "[\"or ders\"", expect![]);
    check("\"violates no_loss\"", "\"fails\"", expect![]);
    check("\"The end race\"", "\" \"", expect![]);
}

#[test]
fn actors_have_names_of_their_own() {
    check("name = \"d\"", "name = \"a1\"", expect![]);
    let many: String = (0..40).map(|i| format!("[[actor]]\nname = \"x{i}\"\nrole = \"drainer\"\n")).collect();
    let (head, _) = GOOD.split_once("[[actor]]").unwrap();
    expect![].assert_eq(&parse(&format!("{head}{many}")).unwrap_err().to_string());
}

#[test]
fn malformed_files_point_at_the_place() {
    check("title =", "title", expect![]);
    check("\"naive\"", "\"naive", expect![]);
    check("[faults]", "[faults", expect![]);
    expect![].assert_eq(&parse("").unwrap_err().to_string());
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
