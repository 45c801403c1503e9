//! Seeds: everything random in a run comes from one number, through one stream a purpose.
//!
//! A stream a purpose keeps runs comparable: a strategy that draws one number more leaves the run's faults as they were.
//! Picking is our own code on `u64`: a library's distributions may change their values between versions, and with them
//! every recorded seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};

/// What random numbers are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// What happens next.
    Strategy,
    /// Which faults a run has.
    Faults,
    /// Anything else that is drawn before a run begins.
    Options,
}

/// The random numbers of one purpose of one run.
#[derive(Clone, Debug)]
pub struct Stream(ChaCha8Rng);

impl Stream {
    /// The stream of `purpose` in the run of `seed`.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8] = match purpose {
            Purpose::Strategy => 1,
            Purpose::Faults => 2,
            Purpose::Options => 3,
        };
        Self(ChaCha8Rng::from_seed(key))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, by multiply-shift: its bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a number below 0 was asked for");
        scale(self.bits(), bound)
    }
}

/// Maps 64 random bits to a number below `bound`.
pub(crate) fn scale(bits: u64, bound: u64) -> u64 {
    ((u128::from(bits) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_what_they_always_were() {
        let mut stream = Stream::new(7, Purpose::Strategy);
        let drawn: Vec<u64> = (0..8).map(|_| stream.below(10)).collect();
        assert_eq!(drawn, RECORDED, "recorded seeds would all change their meaning");
    }

    const RECORDED: [u64; 8] = [8, 0, 0, 6, 4, 0, 4, 0];

    #[test]
    fn purposes_are_independent() {
        assert_ne!(Stream::new(7, Purpose::Strategy).bits(), Stream::new(7, Purpose::Faults).bits());
        assert_ne!(Stream::new(7, Purpose::Strategy).bits(), Stream::new(8, Purpose::Strategy).bits());
    }

    #[test]
    fn numbers_cover_their_range() {
        let mut stream = Stream::new(1, Purpose::Options);
        let mut seen = [false; 5];
        for _ in 0..200 {
            seen[usize::try_from(stream.below(5)).unwrap()] = true;
        }
        assert_eq!(seen, [true; 5]);
    }
}
