//! What worker threads synchronise by, as a trait: the pool runs on `std`'s, and loom's take its place in `tests/loom.rs`,
//! where they try every interleaving. So the loom test needs no build flags of its own, and tests the code that runs.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A set of primitives.
pub trait Primitives {
    /// A number.
    type Counter: Counter;
    /// A flag.
    type Flag: Flag;
    /// A mutex.
    type Lock<T: Send>: Lock<T>;
}

/// A number that only grows.
pub trait Counter: Send + Sync {
    /// With a first value.
    fn new(value: u64) -> Self;
    /// Adds, and gives the value from before. Relaxed: it orders nothing but itself.
    fn fetch_add(&self, add: u64) -> u64;
}

/// A flag that is only ever raised.
pub trait Flag: Send + Sync {
    /// Not raised.
    fn new() -> Self;
    /// Raises it. Relaxed: whoever sees it too late does work that nobody asks for, and nothing worse.
    fn raise(&self);
    /// Whether it has been raised.
    fn is_raised(&self) -> bool;
}

/// A mutex.
pub trait Lock<T>: Send + Sync {
    /// Around a value.
    fn new(value: T) -> Self;
    /// What `change` gives, alone with the value.
    fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R;
}

/// `std`'s primitives.
#[derive(Debug)]
pub enum Std {}

impl Primitives for Std {
    type Counter = AtomicU64;
    type Flag = AtomicBool;
    type Lock<T: Send> = Mutex<T>;
}

impl Counter for AtomicU64 {
    fn new(value: u64) -> Self {
        Self::new(value)
    }

    fn fetch_add(&self, add: u64) -> u64 {
        self.fetch_add(add, Ordering::Relaxed)
    }
}

impl Flag for AtomicBool {
    fn new() -> Self {
        Self::new(false)
    }

    fn raise(&self) {
        self.store(true, Ordering::Relaxed);
    }

    fn is_raised(&self) -> bool {
        self.load(Ordering::Relaxed)
    }
}

impl<T: Send> Lock<T> for Mutex<T> {
    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn with<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        change(&mut self.lock().expect("nobody panics while holding the lock"))
    }
}
