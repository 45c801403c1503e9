//! Each invariant convicts a state that breaks its promise alone, and acquits one that keeps all.

use super::*;
use crate::backend::{GenerationState, ObservedEvent, ObservedSkip};

/// Streams 0 and 1; generation 1 retired, generation 2 as said.
struct State {
    events: &'static [(u16, i64)],
    applied: &'static [(u16, i64)],
    /// Stream, version, generation.
    skips: &'static [(u16, i64, i64)],
    newest: GenerationState,
}

const GOOD: State = State {
    events: &[(0, 1), (1, 1), (0, 2), (0, 3)],
    applied: &[(0, 1), (0, 2), (1, 1)],
    skips: &[(0, 3, 2), (0, 1, 1)],
    newest: GenerationState::Live,
};

fn broken(state: &State, when: When) -> Option<(&'static str, String)> {
    broken_as(state, when, Ledger::default())
}

fn broken_as(state: &State, when: When, mut ledger: Ledger) -> Option<(&'static str, String)> {
    let event = |(position, &(stream, version)): (i64, &(u16, i64))| ObservedEvent { stream, version, position };
    let observation = Observation {
        events: (1..).zip(state.events).map(event).collect(),
        applied: (1..).zip(state.applied).map(event).collect(),
        skips: state
            .skips
            .iter()
            .map(|&(stream, version, generation)| ObservedSkip { stream, version, generation })
            .collect(),
        generations: vec![(1, GenerationState::Retired), (2, state.newest)],
    };
    ledger.fill(&observation, 2);
    check(when, &observation, &ledger).err()
}

#[track_caller]
fn convicts(invariant: &str, says: &str, state: &State) {
    let (name, message) = broken(state, When::Always).expect("expected a conviction");
    assert_eq!(name, invariant, "{message}");
    assert!(message.contains(says), "expected {says:?} in {message:?}");
}

#[test]
fn a_good_state_is_acquitted() {
    assert_eq!(broken(&GOOD, When::Always), None);
}

#[test]
fn an_event_that_is_nowhere_is_lost() {
    convicts("no_loss", "event 3 of stream 0", &State { skips: &[(0, 1, 1)], ..GOOD });
}

#[test]
fn a_skip_record_of_another_generation_does_not_save_an_event() {
    convicts("no_loss", "event 3 of stream 0 to be applied to generation 2", &State { skips: &[(0, 3, 1)], ..GOOD });
}

#[test]
fn a_building_generation_may_still_owe_events() {
    let building = State { applied: &[(0, 1)], skips: &[], newest: GenerationState::Building, ..GOOD };
    assert_eq!(broken(&building, When::Always), None);
}

#[test]
fn a_skip_record_or_an_apply_without_its_event_is_a_phantom() {
    convicts("no_phantom", "event 9 of stream 1", &State { skips: &[(0, 3, 2), (1, 9, 1)], ..GOOD });
    convicts("no_phantom", "event 2 of stream 1", &State { applied: &[(0, 1), (0, 2), (1, 1), (1, 2)], ..GOOD });
}

#[test]
fn an_event_is_applied_once() {
    convicts("exactly_once", "event 1 of stream 0", &State { applied: &[(0, 1), (0, 2), (0, 1), (1, 1)], ..GOOD });
    convicts("exactly_once", "event 2 of stream 0", &State { skips: &[(0, 3, 2), (0, 2, 2)], ..GOOD });
}

#[test]
fn a_stream_is_applied_in_order_and_streams_in_any() {
    convicts("stream_order", "event 1 of stream 0", &State { applied: &[(0, 2), (0, 1), (1, 1)], ..GOOD });
    assert_eq!(broken(&State { applied: &[(1, 1), (0, 1), (0, 2)], ..GOOD }, When::Always), None);
}

#[test]
fn convergence_is_all_applied_to_a_live_generation_and_nothing_skipped() {
    let all = State { applied: &[(0, 1), (0, 2), (1, 1), (0, 3)], skips: &[], ..GOOD };
    assert_eq!(broken(&all, When::Eventually), None);
    let converges = |state: State| broken(&state, When::Eventually).map(|(name, _)| name);
    assert_eq!(converges(State { skips: &[(0, 1, 1)], ..all }), Some("convergence"), "of whatever generation");
    assert_eq!(converges(State { applied: &[(0, 1)], ..all }), Some("convergence"));
    assert_eq!(converges(State { newest: GenerationState::Building, ..all }), Some("convergence"));
}

#[test]
fn a_read_model_that_shows_the_order_of_streams_converges_to_that_of_positions_alone() {
    let by_position = State { applied: GOOD.events, skips: &[], ..GOOD };
    let by_stream = State { applied: &[(0, 1), (0, 2), (0, 3), (1, 1)], ..by_position };
    let shown = |state: &State| broken_as(state, When::Eventually, Ledger::of(true));
    assert_eq!(shown(&by_position), None);
    assert_eq!(broken(&by_stream, When::Eventually), None, "what commutes has no such order");
    let (invariant, message) = shown(&by_stream).expect("a conviction");
    assert_eq!(invariant, "convergence");
    assert!(
        message.contains("event number 2 is event 1 of stream 1; found that it was told of event 2 of stream 0"),
        "{message}"
    );
}

#[test]
fn versions_above_the_first_word_are_told_apart() {
    const EVENTS: [(u16, i64); 200] = {
        let mut events = [(0, 0_i64); 200];
        let (mut index, mut version) = (0, 1);
        while index < events.len() {
            events[index] = (1, version);
            (index, version) = (index + 1, version + 1);
        }
        events
    };
    let all = State { events: &EVENTS, applied: &EVENTS, skips: &[], ..GOOD };
    assert_eq!(broken(&all, When::Always), None);
    convicts("no_loss", "event 200 of stream 1", &State { applied: EVENTS.split_last().unwrap().1, ..all });
}
