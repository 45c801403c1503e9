//! Strategies: the same seed chooses the same, and a replay chooses what it is told.

use super::*;
use crate::explore::schedule::Act;

fn step(actor: u8) -> Choice {
    Choice { actor, act: Act::Step }
}

const CRASH: Choice = Choice { actor: 1, act: Act::Crash };

/// These choices.
fn ready(choices: &[Choice]) -> Ready {
    let of = |act| choices.iter().filter(|it| it.act == act).map(|it| 1 << it.actor).sum();
    Ready { steps: of(Act::Step), lost_answers: of(Act::LoseAnswer), crashes: of(Act::Crash) }
}

#[test]
fn what_is_ready_is_told_in_order() {
    let lost = Choice { actor: 63, act: Act::LoseAnswer };
    let choices = [step(1), CRASH, step(63), lost];
    assert_eq!(ready(&choices).choices().collect::<Vec<_>>(), choices);
    assert!(ready(&[]).is_empty() && !ready(&choices).is_empty());
}

#[test]
fn a_walk_gives_every_actor_its_share_and_faults_a_small_one() {
    let choices = [step(0), step(1), CRASH, step(2)];
    let mut walk = RandomWalk::new();
    walk.begin_run(3);
    let mut counts = [0; 4];
    for _ in 0..12_000 {
        let chosen = walk.choose(&ready(&choices)).unwrap();
        counts[choices.iter().position(|choice| *choice == chosen).unwrap()] += 1;
    }
    let [zero, one, crash, two] = counts;
    for share in [zero, one + crash, two] {
        assert!((3_700..4_300).contains(&share), "{counts:?}");
    }
    assert!((200..500).contains(&crash), "about one step in 12 of the actor's: {counts:?}");
}

#[test]
fn a_walk_follows_from_its_seed() {
    let ready = ready(&[step(0), step(1), step(2)]);
    let walked = |seed| {
        let mut walk = RandomWalk::new();
        walk.choose(&ready);
        walk.begin_run(seed);
        (0..40).map(|_| walk.choose(&ready).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(walked(5), walked(5));
    assert_ne!(walked(5), walked(6));
}

#[test]
fn a_replay_makes_its_choices_and_says_what_it_wanted() {
    let mut replay = Replay::new(vec![step(1), CRASH]);
    replay.begin_run(0);
    assert_eq!(replay.choose(&ready(&[step(0), step(1)])), Some(step(1)));
    assert_eq!(replay.choose(&ready(&[step(0), step(1)])), None, "no crash is offered");
    assert_eq!(replay.wanted(), Some(CRASH));
    assert_eq!(replay.choose(&ready(&[step(1), CRASH])), Some(CRASH));
    assert_eq!((replay.choose(&ready(&[step(0)])), replay.wanted()), (None, None), "the schedule has ended");
}

#[test]
fn a_lenient_replay_leaves_out_what_does_not_fit_and_finishes() {
    let mut lenient = Lenient::default();
    lenient.set(&[CRASH, step(2), step(1)]);
    let ready = ready(&[step(0), step(1)]);
    assert_eq!(lenient.choose(&ready), Some(step(1)), "neither a crash nor actor 2 is there");
    assert_eq!(lenient.choose(&ready), Some(step(0)), "then the lowest");
}

#[test]
fn the_second_of_two_executions_must_be_like_the_first() {
    use crate::explore::{RunEnd, RunResult};
    let run = |schedule: Vec<Choice>, hash| RunResult {
        schedule,
        hash,
        statements: 1,
        end: RunEnd::Completed,
        milestones: 0,
    };
    let first = run(vec![step(0), step(1)], 7);
    assert_eq!(twice::compare(first.clone(), &first).end, RunEnd::Completed);
    for other in [run(vec![step(0), step(1)], 8), run(vec![step(0), step(0)], 7), run(vec![step(0)], 7)] {
        let compared = twice::compare(first.clone(), &other);
        assert!(matches!(compared.end, RunEnd::Nondeterministic(_)), "{:?}", compared.end);
    }
    let selected = (0..10_000).filter(|seed| twice::is_selected(*seed)).count();
    assert!((60..140).contains(&selected), "about one in a hundred, found {selected}");
}
