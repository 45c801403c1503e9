//! The ledger: an observation, sorted by stream, in a form that promises are checked on in a few instructions.

use crate::backend::{GenerationState, Observation, ObservedEvent};

/// Sets of versions, by stream; and what was found out of place while they were filled.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    pub(super) events: Versions,
    pub(super) applied: Versions,
    /// The skip records of [`Ledger::generation`].
    pub(super) skipped: Versions,
    /// The generation that the read model's storage belongs to, and whether it is live.
    pub(super) generation: Option<(i64, bool)>,
    /// The first event that was applied a second time.
    pub(super) twice: Option<ObservedEvent>,
    /// The first event that was applied after a later one of its stream, and that later version.
    pub(super) late: Option<(ObservedEvent, i64)>,
    /// See [`Ledger::of`].
    pub(super) shows_order: bool,
    last: Vec<i64>,
}

impl Ledger {
    /// Of a read model that `shows_order`, or not: [`crate::protocol::Protocol::shows_order`].
    pub fn of(shows_order: bool) -> Self {
        Self { shows_order, ..Self::default() }
    }

    /// Makes it anew, in the same memory.
    pub fn fill(&mut self, observation: &Observation, streams: usize) {
        self.generation = storage_of(observation);
        self.twice = None;
        self.late = None;
        self.last.clear();
        self.last.resize(streams, 0);
        self.events.clear(streams);
        self.applied.clear(streams);
        self.skipped.clear(streams);
        for event in &observation.events {
            self.events.insert(event.stream, event.version);
        }
        for applied in &observation.applied {
            if !self.applied.insert(applied.stream, applied.version) {
                self.twice = self.twice.or(Some(*applied));
            }
            let last = &mut self.last[usize::from(applied.stream)];
            if applied.version < *last {
                self.late = self.late.or(Some((*applied, *last)));
            }
            *last = applied.version.max(*last);
        }
        for skip in &observation.skips {
            if self.generation.is_some_and(|(generation, _)| generation == skip.generation) {
                self.skipped.insert(skip.stream, skip.version);
            }
        }
    }
}

/// The generation whose applies the read model holds: the one that is building in its storage, else the live one.
fn storage_of(observation: &Observation) -> Option<(i64, bool)> {
    let find =
        |state| observation.generations.iter().rev().find(|(_, found)| *found == state).map(|(number, _)| *number);
    match find(GenerationState::Building) {
        Some(building) => Some((building, false)),
        None => find(GenerationState::Live).map(|live| (live, true)),
    }
}

/// A set of versions for each stream, as bits.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    words: Vec<u64>,
    streams: usize,
    /// Words a stream.
    width: usize,
}

impl Versions {
    fn clear(&mut self, streams: usize) {
        self.streams = streams;
        self.width = self.width.max(1);
        self.words.clear();
        self.words.resize(streams * self.width, 0);
    }

    /// Whether it was not in yet.
    fn insert(&mut self, stream: u16, version: i64) -> bool {
        let version = usize::try_from(version).expect("versions count from 1");
        let word = version / 64;
        if word >= self.width {
            self.widen(word + 1);
        }
        let word = &mut self.words[usize::from(stream) * self.width + word];
        let bit = 1 << (version % 64);
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    fn widen(&mut self, width: usize) {
        let mut words = vec![0; self.streams * width];
        for stream in 0..self.streams {
            let from = &self.words[stream * self.width..][..self.width];
            words[stream * width..][..self.width].copy_from_slice(from);
        }
        self.words = words;
        self.width = width;
    }

    fn word(&self, stream: usize, word: usize) -> u64 {
        if word < self.width { self.words[stream * self.width + word] } else { 0 }
    }

    pub(super) fn contains(&self, stream: u16, version: i64) -> bool {
        let version = usize::try_from(version).expect("versions count from 1");
        self.word(usize::from(stream), version / 64) & (1 << (version % 64)) != 0
    }

    /// The first (stream, version) that is in `self` and in neither of the others.
    pub(super) fn first_outside(&self, a: &Self, b: &Self) -> Option<(u16, i64)> {
        self.first(|own, stream, word| own & !a.word(stream, word) & !b.word(stream, word))
    }

    /// The first (stream, version) that is in both.
    pub(super) fn first_shared(&self, other: &Self) -> Option<(u16, i64)> {
        self.first(|own, stream, word| own & other.word(stream, word))
    }

    fn first(&self, bits: impl Fn(u64, usize, usize) -> u64) -> Option<(u16, i64)> {
        for stream in 0..self.streams {
            for word in 0..self.width {
                let found = bits(self.word(stream, word), stream, word);
                if found != 0 {
                    let version = word * 64 + found.trailing_zeros() as usize;
                    return Some((
                        u16::try_from(stream).expect("a scenario's streams"),
                        i64::try_from(version).expect("a version"),
                    ));
                }
            }
        }
        None
    }
}
