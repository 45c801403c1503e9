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
    /// For each stream the word of versions 0 to 63, then for each that of 64 to 127, and so on. What is not there is 0.
    words: Vec<u64>,
    streams: usize,
}

impl Versions {
    fn clear(&mut self, streams: usize) {
        self.streams = streams;
        self.words.clear();
        // Enough for almost every run.
        self.words.resize(streams, 0);
    }

    /// In which word a version stands, and as which bit.
    #[inline]
    fn place(&self, stream: u16, version: i64) -> (usize, u64) {
        let version = usize::try_from(version).expect("versions count from 1");
        (version / 64 * self.streams + usize::from(stream), 1 << (version % 64))
    }

    /// Whether it was not in yet.
    #[inline]
    fn insert(&mut self, stream: u16, version: i64) -> bool {
        let (word, bit) = self.place(stream, version);
        if word >= self.words.len() {
            self.make_room(version);
        }
        let word = &mut self.words[word];
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }

    #[cold]
    fn make_room(&mut self, version: i64) {
        let (first, _) = self.place(0, version);
        self.words.resize(first + self.streams, 0);
    }

    fn word(&self, word: usize) -> u64 {
        self.words.get(word).copied().unwrap_or(0)
    }

    pub(super) fn contains(&self, stream: u16, version: i64) -> bool {
        let (word, bit) = self.place(stream, version);
        self.word(word) & bit != 0
    }

    /// The first (stream, version) that is in `self` and in neither of the others.
    pub(super) fn first_outside(&self, a: &Self, b: &Self) -> Option<(u16, i64)> {
        self.first(|own, word| own & !a.word(word) & !b.word(word))
    }

    /// The first (stream, version) that is in both.
    pub(super) fn first_shared(&self, other: &Self) -> Option<(u16, i64)> {
        self.first(|own, word| own & other.word(word))
    }

    fn first(&self, bits: impl Fn(u64, usize) -> u64) -> Option<(u16, i64)> {
        let (word, found) =
            self.words.iter().enumerate().map(|(word, own)| (word, bits(*own, word))).find(|(_, found)| *found != 0)?;
        let stream = u16::try_from(word % self.streams).expect("a scenario's streams");
        let version = word / self.streams * 64 + found.trailing_zeros() as usize;
        Some((stream, i64::try_from(version).expect("a version")))
    }
}
