//! Schedule files: round trips, truncations, and errors that point at the place.

use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::scenario::{AppendSpec, Expected, FaultBudget, Role};

fn names() -> Vocabulary {
    Vocabulary { protocols: vec!["naive", "other"], invariants: vec!["no_loss", "no_phantom"], milestones: vec![] }
}

fn actor(name: &str, role: Role) -> ActorSpec {
    ActorSpec { name: name.to_owned(), role }
}

fn append(stream: &str, events: u32) -> AppendSpec {
    AppendSpec { stream: stream.to_owned(), events }
}

fn end_race() -> Scenario {
    Scenario {
        name: "end-race".to_owned(),
        path: PathBuf::from("scenarios/end-race.toml"),
        title: "The end race".to_owned(),
        protocol: "naive".to_owned(),
        expected: Expected::Violates { invariant: "no_loss".to_owned() },
        actors: vec![
            actor("a1", Role::Appender { appends: vec![append("s1", 1), append("s2", 3)] }),
            actor("r", Role::Rebuilder { rebuilds: 1, batch: 2 }),
            actor("d", Role::Drainer { passes: 2 }),
        ],
        milestones: vec![],
        faults: FaultBudget::default(),
        steps_max: 1000,
        granularity: crate::scenario::Granularity::default(),
    }
}

fn find(name: &str) -> Result<Scenario, String> {
    if name == "end-race" || name.contains('/') {
        Ok(end_race())
    } else {
        Err(unknown_name("scenario", name, &["end-race"]))
    }
}

fn read(text: &str) -> Result<SavedSchedule, FileError> {
    parse(Path::new("lost.toml"), text, &names(), &find)
}

fn saved() -> SavedSchedule {
    let choice = |actor, act| Choice { actor, act };
    let mut workload: Vec<ActorSpec> = end_race().actors.iter().map(idle).collect();
    workload[0].role = Role::Appender { appends: vec![append("s2", 2)] };
    workload[1].role = Role::Rebuilder { rebuilds: 1, batch: 1 };
    let choices = vec![choice(0, Act::Step), choice(1, Act::Crash), choice(1, Act::Step), choice(0, Act::LoseAnswer)];
    SavedSchedule {
        scenario: end_race(),
        called: "end-race".to_owned(),
        schedule: Schedule { choices, workload: Some(workload) },
        verdict: SavedVerdict::Violates { invariant: "no_loss".to_owned(), step: 3 },
        seed: Some(4711),
        hash: Some(0xabc),
    }
}

#[test]
fn a_file_is_text_for_people() {
    expect![[r##"
        # end-race: violates no_loss after step 3.
        # Make this run again: skiptrace replay FILE [--on postgres]
        format = 1
        scenario = "end-race"
        protocol = "naive"
        verdict = "violates no_loss"
        step = 3
        seed = 4711
        hash = "0000000000000abc"

        [[actor]]
        name = "a1"
        role = "appender"
        appends = [{ stream = "s2", events = 2 }]

        [[actor]]
        name = "r"
        role = "rebuilder"
        rebuilds = 1
        batch = 1

        [schedule]
        choices = """
        a1 r!crash r a1!lose_answer
        """
    "##]]
    .assert_eq(&write(&saved()));
}

/// The error of a good file with `from` replaced by `to`.
#[track_caller]
fn check(from: &str, to: &str, want: &Expect) {
    let good = write(&saved());
    assert!(good.contains(from), "the good file has no {from:?}");
    want.assert_eq(&read(&good.replacen(from, to, 1)).unwrap_err().to_string());
}

#[test]
fn a_choice_that_is_not_known_is_named_with_its_step() {
    check(
        "r!crash",
        "q!crash",
        &expect![[r#"
        lost.toml:24:4: step 1: unknown actor "q"
         24 | a1 q!crash r a1!lose_answer
            |    ^^^^^^^
        expected one of: a1, r, d
        did you mean "r"?"#]],
    );
    check(
        "a1!lose_answer",
        "a1!loose_answer",
        &expect![[r#"
        lost.toml:24:14: step 3: unknown act "loose_answer"
         24 | a1 r!crash r a1!loose_answer
            |              ^^^^^^^^^^^^^^^
        expected one of: crash, lose_answer
        did you mean "lose_answer"?"#]],
    );
}

#[test]
fn a_schedule_of_another_scenario_or_protocol_is_refused() {
    check(
        "\"end-race\"",
        "\"end-rice\"",
        &expect![[r#"
        lost.toml:4:12: unknown scenario "end-rice"
          4 | scenario = "end-rice"
            |            ^^^^^^^^^^
        expected one of: end-race
        did you mean "end-race"?"#]],
    );
    check(
        "\"naive\"",
        "\"other\"",
        &expect![[r#"
        lost.toml:5:12: the schedule does not fit its scenario any more: end-race runs another protocol
          5 | protocol = "other"
            |            ^^^^^^^
        expected "naive", found "other""#]],
    );
}

#[test]
fn a_workload_of_other_actors_is_refused() {
    check(
        "name = \"a1\"",
        "name = \"a9\"",
        &expect![[r#"
        lost.toml:11:1: the schedule does not fit its scenario any more: unknown actor "a9"
         11 | [[actor]]
            | ^^^^^^^^^
        expected one of: a1, r, d
        did you mean "a1"?"#]],
    );
    check(
        "role = \"rebuilder\"\nrebuilds = 1\nbatch = 1",
        "role = \"drainer\"",
        &expect![[r#"
        lost.toml:16:1: the schedule does not fit its scenario any more: this actor has another role there
         16 | [[actor]]
            | ^^^^^^^^^"#]],
    );
}

#[test]
fn what_is_malformed_is_shown_in_its_place() {
    check(
        "format = 1",
        "format = 2",
        &expect![[r#"
        lost.toml:3:10: this format is not known here
          3 | format = 2
            |          ^
        expected version 1, found 2"#]],
    );
    check(
        "0000000000000abc",
        "abc",
        &expect![[r#"
        lost.toml:9:8: "abc" is no hash
          9 | hash = "abc"
            |        ^^^^^
        expected the history's hash, 16 hexadecimal digits in a string"#]],
    );
    check(
        "seed = 4711",
        "seed = -1",
        &expect![[r#"
        lost.toml:8:8: `seed` is out of range
          8 | seed = -1
            |        ^^
        expected an integer from 0 to 9223372036854775807, found -1"#]],
    );
}

#[test]
fn a_verdict_is_one_that_a_run_can_have() {
    check(
        "step = 3\n",
        "",
        &expect![[r#"
        lost.toml:6:11: a violation has a step
          6 | verdict = "violates no_loss"
            |           ^^^^^^^^^^^^^^^^^^
        expected `step`: after which step"#]],
    );
    check(
        "violates no_loss\"\n",
        "holds\"\n",
        &expect![[r#"
        lost.toml:6:11: only a violation has a step
          6 | verdict = "holds"
            |           ^^^^^^^
        expected no `step`"#]],
    );
    check(
        "no_loss\"\n",
        "no_los\"\n",
        &expect![[r#"
        lost.toml:6:11: unknown invariant "no_los"
          6 | verdict = "violates no_los"
            |           ^^^^^^^^^^^^^^^^^
        expected one of: no_loss, no_phantom
        did you mean "no_loss"?"#]],
    );
    check(
        "\"\"\"\n",
        "\"\"\"\n[other]\n",
        &expect![[r#"
        lost.toml:24:1: step 0: unknown actor "[other]"
         24 | [other]
            | ^^^^^^^
        expected one of: a1, r, d"#]],
    );
    check(
        "hash = ",
        "hsh = ",
        &expect![[r#"
        lost.toml:9:1: unknown key `hsh` in the schedule
          9 | hsh = "0000000000000abc"
            | ^^^
        expected one of: format, scenario, protocol, verdict, step, seed, hash, actor, schedule
        did you mean `hash`?"#]],
    );
}

#[test]
fn every_truncated_file_is_an_error_with_a_place() {
    let good = write(&saved());
    for end in 0..good.trim_end().len() {
        let error = read(&good[..end]).unwrap_err();
        assert!(error.line >= 1 && error.line <= good[..end].lines().count() + 1, "{end}: {error}");
    }
}

/// What the scenario's actors do instead; somebody does something.
fn any_workload() -> impl Strategy<Value = Vec<ActorSpec>> {
    let appends = prop::collection::vec(("[a-z][a-z0-9_-]{0,11}", 1_u32..=64), 1..4)
        .prop_map(|appends| appends.iter().map(|(stream, events)| append(stream, *events)).collect::<Vec<_>>());
    (appends, prop::option::of((1_u32..=16, 1_u32..=10_000)), 0_u32..=64).prop_map(|(appends, rebuilds, passes)| {
        let mut workload: Vec<ActorSpec> = end_race().actors.iter().map(idle).collect();
        workload[0].role = Role::Appender { appends };
        if let Some((rebuilds, batch)) = rebuilds {
            workload[1].role = Role::Rebuilder { rebuilds, batch };
        }
        workload[2].role = Role::Drainer { passes };
        workload
    })
}

fn any_saved() -> impl Strategy<Value = SavedSchedule> {
    let act = prop_oneof![Just(Act::Step), Just(Act::LoseAnswer), Just(Act::Crash)];
    let choice = (0_u8..3, act).prop_map(|(actor, act)| Choice { actor, act });
    let verdict = prop_oneof![
        Just(SavedVerdict::Holds),
        Just(SavedVerdict::Stuck),
        any::<u32>().prop_map(|step| SavedVerdict::Violates { invariant: "no_phantom".to_owned(), step }),
    ];
    let choices = prop::collection::vec(choice, 1..200);
    let workload = prop::option::of(any_workload());
    let called = prop_oneof![Just("end-race".to_owned()), r#"[a-z "'\\#é]{0,8}/[a-z "'\\#é]{0,8}\.toml"#];
    (called, verdict, prop::option::of(0..=SEED_MAX), any::<Option<u64>>(), choices, workload).prop_map(
        |(called, verdict, seed, hash, choices, workload)| {
            let schedule = Schedule { choices, workload };
            SavedSchedule { scenario: end_race(), called, schedule, verdict, seed, hash }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(saved in any_saved()) {
        let text = write(&saved);
        prop_assert!(text.lines().all(|line| line.len() <= 200), "{}", text);
        prop_assert_eq!(read(&text).map_err(|error| error.to_string()), Ok(saved));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = read(&text);
    }

    #[test]
    fn any_damage_is_read_or_refused(at in any::<prop::sample::Index>(), byte in 32_u8..127) {
        let mut text = write(&saved()).into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let _ = read(&String::from_utf8(text).unwrap());
    }
}
