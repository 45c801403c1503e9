//! Timelines, as a reader sees them.

use expect_test::{Expect, expect};
use skiptrace::Rows;

use super::*;
use crate::backend::BackendError;
use crate::explore::schedule::Choice;
use crate::explore::{Stuck, StuckKind, Violation};

/// Builds a history the way a run would.
#[derive(Default)]
struct Story(History);

impl Story {
    fn record(&mut self, actor: u8, act: Act, sent: Option<(&str, Vec<Value>)>, effect: Effect) -> &mut Self {
        let sent = sent.map(|(text, params)| {
            let (name, sql) = text.split_once(": ").unwrap_or((text, ""));
            (Statement::new(name, sql), params)
        });
        let choice = Choice { actor, act };
        self.0.steps.push(StepRecord { choice, sent, effect, woken: Vec::new(), milestones: Vec::new() });
        self
    }

    fn step(&mut self, actor: u8, name: &str, params: Vec<Value>, answer: Answer) -> &mut Self {
        self.record(actor, Act::Step, Some((name, params)), Effect::Answered(Ok(answer)))
    }

    fn begin(&mut self, actor: u8, name: &str) -> &mut Self {
        self.step(actor, name, vec![], tag(Tag::Begin))
    }

    fn commit(&mut self, actor: u8, name: &str) -> &mut Self {
        self.step(actor, name, vec![], tag(Tag::Commit))
    }

    fn waits(&mut self, actor: u8, name: &str, params: Vec<Value>, blockers: Vec<u8>) -> &mut Self {
        self.record(actor, Act::Step, Some((name, params)), Effect::Waits(blockers))
    }

    fn wakes(&mut self, actor: u8, answer: Result<Answer, DbError>) -> &mut Self {
        self.0.steps.last_mut().unwrap().woken.push((actor, answer));
        self
    }

    fn milestone(&mut self, name: &'static str) -> &mut Self {
        self.0.steps.last_mut().unwrap().milestones.push(name);
        self
    }
}

fn tag(tag: Tag) -> Answer {
    Answer { tag, affected: 0, rows: Rows::default() }
}

fn affected(affected: u64) -> Answer {
    Answer { tag: Tag::Other, affected, rows: Rows::default() }
}

fn rows(rows: &[Vec<Value>]) -> Answer {
    Answer { tag: Tag::Other, affected: rows.len() as u64, rows: Rows::new(rows.len(), rows.concat()) }
}

fn violated(step: u32, message: &str) -> RunEnd {
    RunEnd::Violated(Violation { invariant: "no_loss", step, message: message.to_owned() })
}

#[track_caller]
fn check(lanes: &[&str], story: &Story, end: &RunEnd, want: &Expect) {
    let lanes: Vec<String> = lanes.iter().map(|&name| name.to_owned()).collect();
    let text = Timeline { lanes: &lanes, history: &story.0, end }.render(Paint::Plain);
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "too long: {line}");
        assert!(!line.ends_with(' '), "ends with a space: {line:?}");
    }
    want.assert_eq(&text);
}

/// The race that the project is about.
fn end_race() -> Story {
    let mut story = Story::default();
    story
        .begin(0, "append.begin")
        .step(0, "append.bump_stream", vec!["orders-1".into()], rows(&[vec![1.into()]]))
        .step(0, "append.read_status", vec!["totals".into()], rows(&[vec!["rebuilding".into()]]))
        .begin(1, "rebuild.begin")
        .step(1, "rebuild.read_batch", vec![0.into(), 100.into()], affected(0))
        .step(1, "rebuild.set_active", vec!["totals".into()], affected(1))
        .commit(1, "rebuild.commit")
        .milestone("append_straddled_cutover")
        .step(
            0,
            "append.insert_event",
            vec!["orders-1".into(), 1.into(), serde_json::json!({"n": 1}).into()],
            affected(1),
        )
        .commit(0, "append.commit");
    story
}

#[test]
fn the_end_race_is_seen_at_a_glance() {
    let message = "event 1 of stream orders-1 is committed, and generation 1 is live\n\
        expected: it is applied there, or has a skip record\nfound: neither";
    check(
        &["a1", "r"],
        &end_race(),
        &violated(8, message),
        &expect![[r#"
        step  a1                                                      r
           0  ┏ append.begin
           1  ┃ append.bump_stream (orders-1) → 1
           2  ┃ append.read_status (totals) → rebuilding
           3  ┃                                                       ┏ rebuild.begin
           4  ┃                                                       ┃ rebuild.read_batch (0, 100) → 0 rows
           5  ┃                                                       ┃ rebuild.set_active (totals) → 1 row
           6  ┃                                                       ┗ rebuild.commit
              ◆ append_straddled_cutover
           7  ┃ append.insert_event (orders-1, 1, {"n":1}) → 1 row
        ✗  8  ┗ append.commit

        ┏ ┃ ┗ a transaction, from its BEGIN to its end   ┋ waits   → answered   ✗ fault or error   ◆ milestone
        ✗ no_loss is violated after step 8
          event 1 of stream orders-1 is committed, and generation 1 is live
          expected: it is applied there, or has a skip record
          found: neither
    "#]],
    );
}

/// Nobody expects rows of a lock.
#[test]
fn what_has_no_rows_is_told_without() {
    let mut story = Story::default();
    story
        .step(0, "append.update: UPDATE t SET n = 1", vec![], affected(0))
        .step(0, "rebuild.lock: LOCK TABLE t", vec![], affected(0))
        .waits(1, "rebuild.truncate: truncate t", vec![], vec![0])
        .step(0, "append.insert: INSERT INTO t VALUES (1)", vec![], affected(1))
        .wakes(1, Ok(affected(0)));
    check(
        &["a", "r"],
        &story,
        &RunEnd::Completed,
        &expect![[r#"
        step  a                                                       r
           0  │ append.update → 0 rows
           1  │ rebuild.lock
           2  │                                                       │ rebuild.truncate
              │                                                       ┋   waits for a
           3  │ append.insert → 1 row                                 ┋
                                                                      │ rebuild.truncate goes on

        ┏ ┃ ┗ a transaction, from its BEGIN to its end   ┋ waits   → answered   ✗ fault or error   ◆ milestone
        ✓ every actor is done, and every invariant held
    "#]],
    );
}

#[test]
fn waits_faults_and_errors_are_told_in_their_lanes() {
    let mut story = Story::default();
    story
        .begin(0, "append.begin")
        .step(0, "append.bump_stream", vec!["orders-1".into()], rows(&[vec![1.into()]]))
        .begin(1, "append.begin")
        .waits(1, "append.bump_stream", vec!["orders-1".into()], vec![0])
        .begin(2, "drain.begin")
        .waits(2, "drain.lock_stream", vec!["orders-1".into()], vec![0, 1])
        .record(0, Act::LoseAnswer, Some(("append.commit", vec![])), Effect::AnswerLost)
        .wakes(1, Ok(rows(&[vec![2.into()]])))
        .wakes(2, Err(DbError::new(SqlState::DEADLOCK_DETECTED, "deadlock detected")))
        .record(1, Act::Crash, None, Effect::Crashed)
        .record(1, Act::Step, None, Effect::Restarted)
        .step(2, "drain.rollback", vec![], tag(Tag::Rollback))
        .record(2, Act::Step, None, Effect::PauseEnded)
        .begin(1, "append.begin");
    let stuck = RunEnd::Stuck(Stuck { kind: StuckKind::Blocked, message: "d waits for a2, a2 is done".to_owned() });
    check(
        &["a1", "a2", "d"],
        &story,
        &stuck,
        &expect![[r#"
        step  a1                                   a2                                   d
           0  ┏ append.begin
           1  ┃ append.bump_stream (orders-1) → 1
           2  ┃                                    ┏ append.begin
           3  ┃                                    ┃ append.bump_stream (orders-1)
              ┃                                    ┋   waits for a1
           4  ┃                                    ┋                                    ┏ drain.begin
           5  ┃                                    ┋                                    ┃ drain.lock_stream (orders-1)
              ┃                                    ┋                                    ┋   waits for a1 and a2
           6  ┗ append.commit                      ┋                                    ┋
                  ✗ done, but the connection       ┋                                    ┋
                    breaks and its answer is lost  ┋                                    ┋
                                                   ┃ append.bump_stream goes on → 2     ┋
                                                   ┃                                    ┃ drain.lock_stream goes on
                                                   ┃                                    ┃   ✗ deadlock detected (40P01
                                                   ┃                                    ┃     deadlock_detected)
           7                                       ✗ crashes; its transaction is rolled ┃
                                                       back                             ┃
           8                                       ○ starts again, with an empty memory ┃
           9                                       │                                    ┗ drain.rollback → rolled back
          10                                       │                                    │ looks again
          11                                       ┏ append.begin

        ┏ ┃ ┗ a transaction, from its BEGIN to its end   ┋ waits   → answered   ✗ fault or error   ◆ milestone
        ✗ the run is stuck
          d waits for a2, a2 is done
    "#]],
    );
}

#[test]
fn long_texts_are_cut_and_idle_sessions_have_no_lane() {
    let mut story = Story::default();
    let long = "x".repeat(300);
    story
        .step(
            2,
            "append.with_a_name_that_is_far_too_long_for_any_lane_of_any_width_whatsoever",
            vec![long.as_str().into(), Value::Null, vec![Value::Int(1); 9].into(), "".into()],
            rows(&vec![vec![1.into(), true.into()]; 7]),
        )
        .step(2, "append.time", vec![], rows(&[vec![Value::Timestamp(17), long.as_str().into()]]));
    check(
        &["a1", "r", "d"],
        &story,
        &RunEnd::Completed,
        &expect![[r#"
        step  d
           0  │ append.with_a_name_that_is_far_too_long_for_any_lane_
              │   of_any_width_whatsoever
              │   (xxxxxxxxxxxxxxxxxxxxxxxxxxx…, NULL, [1, 1, 1, 1,
              │   ..], '')
              │   → 7 rows: (1, true), (1, true), (1, true), ..
           1  │ append.time → (time), xxxxxxxxxxxxxxxxxxxxxxxxxxx…

        ┏ ┃ ┗ a transaction, from its BEGIN to its end   ┋ waits   → answered   ✗ fault or error   ◆ milestone
        ✓ every actor is done, and every invariant held
    "#]],
    );
}

#[test]
fn many_sessions_share_one_column() {
    let mut story = Story::default();
    let names: Vec<String> = (1..=8).map(|i| format!("a{i}")).collect();
    for actor in 0..8 {
        story.begin(actor, "append.begin");
    }
    story
        .step(3, "append.bump_stream", vec!["orders-1".into()], rows(&[vec![1.into()]]))
        .waits(4, "append.bump_stream", vec!["orders-1".into()], vec![3])
        .commit(3, "append.commit")
        .wakes(4, Ok(rows(&[vec![2.into()]])));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let refused = BackendError::Refused { statement: "append.merge".to_owned(), construct: "MERGE".to_owned() };
    check(
        &names,
        &story,
        &RunEnd::Failed(refused),
        &expect![[r#"
        step
           0  a1  ┏ append.begin
           1  a2  ┏ append.begin
           2  a3  ┏ append.begin
           3  a4  ┏ append.begin
           4  a5  ┏ append.begin
           5  a6  ┏ append.begin
           6  a7  ┏ append.begin
           7  a8  ┏ append.begin
           8  a4  ┃ append.bump_stream (orders-1) → 1
           9  a5  ┃ append.bump_stream (orders-1)
                  ┋   waits for a4
          10  a4  ┗ append.commit
              a5  ┃ append.bump_stream goes on → 2

        ┏ ┃ ┗ a transaction, from its BEGIN to its end   ┋ waits   → answered   ✗ fault or error   ◆ milestone
        ✗ the backend failed
          the model of PostgreSQL refuses append.merge: MERGE is not supported (0A000)
    "#]],
    );
}

#[test]
fn a_run_without_steps_is_a_header_and_an_end() {
    let misfit = RunEnd::Misfit { step: 0, message: "expected a1, found r".to_owned() };
    check(
        &["a1"],
        &Story::default(),
        &misfit,
        &expect![[r#"
        step

        ┏ ┃ ┗ a transaction, from its BEGIN to its end   ┋ waits   → answered   ✗ fault or error   ◆ milestone
        ✗ the schedule does not fit its scenario any more, at step 0
          expected a1, found r
    "#]],
    );
}

#[test]
fn colours_are_added_and_change_no_letter() {
    let lanes = ["a1".to_owned(), "r".to_owned()];
    let (story, end) = (end_race(), violated(8, "lost"));
    let timeline = Timeline { lanes: &lanes, history: &story.0, end: &end };
    let painted = timeline.render(Paint::Ansi);
    assert!(painted.contains("\x1b[1;31m✗ no_loss is violated after step 8\x1b[0m"), "{painted}");
    let mut plain = String::new();
    for (index, part) in painted.split('\x1b').enumerate() {
        plain.push_str(if index == 0 { part } else { part.split_once('m').unwrap().1 });
    }
    assert_eq!(plain, timeline.render(Paint::Plain));
}
