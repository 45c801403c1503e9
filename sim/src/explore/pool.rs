//! Many runs, over all cores, with one result whatever the number of workers.
//!
//! ```text
//!   dispenser   0..16   16..32   32..48   48..64 ..      seeds, in chunks, in order: one atomic counter
//!                 |        |        |
//!   workers       A        B        A                    each with a runner and a database of its own
//!                 v        v        v
//!   merge       0..16   16..32   (waits until 16..32 is there)      in seed order: one mutex, taken once a chunk
//! ```
//!
//! A worker finishes each chunk that it took. Chunks are taken in order, so what has been merged in the end is
//! always a prefix of the seeds, without a hole. Hence verdict, counts and hash do not depend on who ran what: without a limit
//! on time the prefix is all seeds; with one it is as long as the time allowed. What ends the search (a failed backend, a run that is
//! not deterministic) cuts the prefix at its seed, and of two such the lower seed wins.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::thread;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::sync::{Counter, Flag, Lock, Primitives, Std};
use super::{RunEnd, RunResult};
use crate::backend::BackendError;

/// Seeds that a worker takes at once: enough that the workers do not meet, few enough that all end at the same time.
const CHUNK: u64 = 16;

/// What all runs together came to.
#[derive(Debug)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Statements that they sent.
    pub statements: u64,
    /// Element `i`: how many runs reached the scenario's milestone `i`.
    pub milestones: [u64; 64],
    /// What was found, each kind with its lowest seed.
    pub found: BTreeMap<Finding, Found>,
    /// What ended the search before its time.
    pub ended: Option<Ended>,
    /// Each run's hash, hashed with what came of those before as the seed.
    hash: u64,
}

impl Tally {
    fn new() -> Self {
        Self { runs: 0, statements: 0, milestones: [0; 64], found: BTreeMap::new(), ended: None, hash: 0 }
    }

    /// A hash over the hashes of all runs, in seed order.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Takes in the runs of a chunk, which follow those before; gives whether more may follow.
    fn append(&mut self, chunk: Chunk) -> bool {
        for hash in &chunk.hashes {
            self.hash = xxh3_64_with_seed(&hash.to_le_bytes(), self.hash);
        }
        self.runs += chunk.hashes.len() as u64;
        self.statements += chunk.statements;
        for (sum, count) in self.milestones.iter_mut().zip(chunk.milestones) {
            *sum += count;
        }
        for (finding, found) in chunk.found {
            match self.found.get_mut(&finding) {
                Some(first) => first.count += found.count,
                None => _ = self.found.insert(finding, found),
            }
        }
        self.ended = chunk.ended;
        self.ended.is_none()
    }
}

/// What a run can be found to do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// It violated the invariant of this name.
    Violated(&'static str),
    /// It made no progress.
    Stuck,
}

/// The first run that did it.
#[derive(Debug)]
pub struct Found {
    /// Its seed.
    pub seed: u64,
    /// What it came to.
    pub result: RunResult,
    /// How many runs did it.
    pub count: u64,
}

/// What ended the search.
#[derive(Debug)]
pub struct Ended {
    /// In the run of this seed; none where a worker could not begin.
    pub seed: Option<u64>,
    /// How: failed, not deterministic, or a misfit.
    pub end: RunEnd,
}

/// The runs of one chunk.
#[derive(Debug)]
struct Chunk {
    hashes: Vec<u64>,
    statements: u64,
    milestones: [u64; 64],
    found: BTreeMap<Finding, Found>,
    ended: Option<Ended>,
}

impl Chunk {
    /// Runs the seeds until one ends the search.
    fn run(seeds: Range<u64>, run: &mut dyn FnMut(u64) -> RunResult) -> Self {
        let hashes = Vec::with_capacity(usize::try_from(seeds.end - seeds.start).unwrap_or(0));
        let mut chunk = Self { hashes, statements: 0, milestones: [0; 64], found: BTreeMap::new(), ended: None };
        for seed in seeds {
            let result = run(seed);
            let finding = match &result.end {
                RunEnd::Completed => None,
                RunEnd::Violated(violation) => Some(Finding::Violated(violation.invariant)),
                RunEnd::Stuck(_) => Some(Finding::Stuck),
                RunEnd::Misfit { .. } | RunEnd::Nondeterministic(_) | RunEnd::Failed(_) => {
                    chunk.ended = Some(Ended { seed: Some(seed), end: result.end });
                    break;
                }
            };
            chunk.hashes.push(result.hash);
            chunk.statements += u64::from(result.statements);
            let mut bits = result.milestones;
            while bits != 0 {
                chunk.milestones[bits.trailing_zeros() as usize] += 1;
                bits &= bits - 1;
            }
            if let Some(finding) = finding {
                chunk.found.entry(finding).or_insert(Found { seed, result, count: 0 }).count += 1;
            }
        }
        chunk
    }
}

/// What the workers share.
#[derive(Debug)]
pub struct Shared<P: Primitives> {
    next: P::Counter,
    end: u64,
    chunk: u64,
    stop: P::Flag,
    merge: P::Lock<Merge>,
}

/// Chunks, put in order.
#[derive(Debug)]
pub struct Merge {
    tally: Tally,
    /// Every chunk before this seed has been taken in.
    merged: u64,
    open: bool,
    early: BTreeMap<u64, Chunk>,
}

impl<P: Primitives> Shared<P> {
    /// For the runs of `seeds`, `chunk` at once.
    pub fn new(seeds: Range<u64>, chunk: u64) -> Self {
        let merge = Merge { tally: Tally::new(), merged: seeds.start, open: true, early: BTreeMap::new() };
        Self { next: Counter::new(seeds.start), end: seeds.end, chunk, stop: Flag::new(), merge: Lock::new(merge) }
    }

    /// The next seeds; none where all are taken or the search was stopped.
    fn take(&self) -> Option<Range<u64>> {
        if self.stop.is_raised() {
            return None;
        }
        let start = self.next.fetch_add(self.chunk);
        (start < self.end).then(|| start..self.end.min(start + self.chunk))
    }

    /// Nobody takes more seeds. Those taken are run to their end.
    pub fn stop(&self) {
        self.stop.raise();
    }

    fn give(&self, seeds: Range<u64>, chunk: Chunk) {
        self.merge.with(|merge| {
            merge.early.insert(seeds.start, chunk);
            while let Some(chunk) = merge.early.remove(&merge.merged) {
                merge.merged = self.end.min(merge.merged + self.chunk);
                if merge.open {
                    merge.open = merge.tally.append(chunk);
                }
            }
        });
    }

    /// A worker could not begin.
    fn fail(&self, error: BackendError) {
        self.stop();
        self.merge.with(|merge| {
            if merge.open {
                merge.open = false;
                merge.tally.ended = Some(Ended { seed: None, end: RunEnd::Failed(error) });
            }
        });
    }

    /// What came of it, once all workers have ended.
    pub fn finish(&self) -> Tally {
        self.merge.with(|merge| {
            assert!(merge.early.is_empty(), "chunks are taken in order, and each that was taken was merged");
            std::mem::replace(&mut merge.tally, Tally::new())
        })
    }

    /// A worker: runs seeds until none is left, `go_on` says no, or one ends the search. `go_on` is asked before each
    /// chunk, with the number of runs that this worker has done since it was asked last.
    pub fn work(&self, go_on: &dyn Fn(u64) -> bool, run: &mut dyn FnMut(u64) -> RunResult) {
        let mut done = 0;
        loop {
            if !go_on(done) {
                self.stop();
            }
            let Some(seeds) = self.take() else { return };
            let chunk = Chunk::run(seeds.clone(), run);
            if chunk.ended.is_some() {
                self.stop();
            }
            done = chunk.hashes.len() as u64;
            self.give(seeds, chunk);
        }
    }
}

/// Makes runs for one worker, on the worker's own thread.
pub trait Worker {
    /// The run of a seed.
    fn run(&mut self, seed: u64) -> RunResult;
}

impl<F: FnMut(u64) -> RunResult> Worker for F {
    fn run(&mut self, seed: u64) -> RunResult {
        self(seed)
    }
}

/// Runs `seeds` on `jobs` threads, each with a worker that `begin` makes; where it makes none, the others do the work (the first must be
/// made). `go_on`: see [`Shared::work`].
pub fn explore<W: Worker>(
    seeds: Range<u64>,
    jobs: NonZeroUsize,
    go_on: &(dyn Fn(u64) -> bool + Sync),
    begin: &(dyn Fn() -> Result<Option<W>, BackendError> + Sync),
) -> Tally {
    let shared = Shared::<Std>::new(seeds, CHUNK);
    thread::scope(|scope| {
        for _ in 0..jobs.get() {
            scope.spawn(|| match begin() {
                Ok(None) => {}
                Ok(Some(mut worker)) => shared.work(go_on, &mut |seed| worker.run(seed)),
                Err(error) => shared.fail(error),
            });
        }
    });
    shared.finish()
}

#[cfg(test)]
mod tests;
