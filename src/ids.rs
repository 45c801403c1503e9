//! Names and numbers of the event store, a type each, so that a version is never taken for a position.

use std::error::Error as StdError;
use std::fmt;
use std::time::{Duration, SystemTime};

use smol_str::SmolStr;

/// The name of a stream: 1 to [`StreamId::BYTES_MAX`] bytes, without NUL. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(SmolStr);

impl StreamId {
    /// Longer keys do not fit into PostgreSQL's index rows beside the other columns of their indexes.
    pub const BYTES_MAX: usize = 1000;

    /// Errs where PostgreSQL could not store the name.
    pub fn new(name: impl Into<SmolStr>) -> Result<Self, InvalidName> {
        Ok(Self(checked("stream id", Self::BYTES_MAX, name.into())?))
    }

    /// The name, as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the database returned was checked when it was stored.
    pub(crate) fn stored(name: SmolStr) -> Self {
        Self(name)
    }

    pub(crate) fn shared(&self) -> SmolStr {
        self.0.clone()
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `name`, if PostgreSQL can store it as a key.
pub(crate) fn checked(what: &'static str, bytes_max: usize, name: SmolStr) -> Result<SmolStr, InvalidName> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > bytes_max {
        "is too long"
    } else if name.contains('\0') {
        "contains a NUL character"
    } else {
        return Ok(name);
    };
    Err(InvalidName { what, problem, name, bytes_max })
}

/// A name that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    what: &'static str,
    problem: &'static str,
    name: SmolStr,
    bytes_max: usize,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, problem, name, bytes_max } = self;
        write!(f, "the {what} {name:?} {problem}: expected 1 to {bytes_max} bytes without NUL")
    }
}

impl StdError for InvalidName {}

/// The number of an event in its stream, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(i64);

impl Version {
    /// The first event of a stream.
    pub const FIRST: Self = Self(1);

    /// None where `number` is below 1: a stream without events has no version, see [`ExpectedVersion::NoStream`].
    pub const fn new(number: i64) -> Option<Self> {
        if number < 1 { None } else { Some(Self(number)) }
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }

    pub(crate) const fn stored(number: i64) -> Self {
        Self(number)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an append expects of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedVersion {
    /// Nothing: it is appended to whatever is there.
    Any,
    /// That there is no such stream yet.
    NoStream,
    /// That this is the version of its last event.
    Exact(Version),
}

impl fmt::Display for ExpectedVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any version"),
            Self::NoStream => f.write_str("no stream"),
            Self::Exact(version) => write!(f, "version {version}"),
        }
    }
}

/// The place of an event in the log of all streams. Positions have gaps, and a lower one can be committed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(i64);

impl Position {
    /// A position by its number.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a generation of a projection's read model, from 1; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(i64);

impl Generation {
    /// A generation by its number.
    pub const fn new(number: i64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A moment by the server's clock, in microseconds since 1970-01-01 00:00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// A moment by its microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// The time from `earlier` to this; zero where `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        let distance = Duration::from_micros(timestamp.0.unsigned_abs());
        if timestamp.0 < 0 { Self::UNIX_EPOCH - distance } else { Self::UNIX_EPOCH + distance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_postgresql_cannot_store_are_refused() {
        assert!(StreamId::new("account-1").is_ok());
        for (name, problem) in
            [(String::new(), "is empty"), ("x".repeat(1001), "is too long"), ("a\0b".to_owned(), "contains a NUL")]
        {
            let error = StreamId::new(name).expect_err("refused").to_string();
            assert!(error.contains(problem), "{error}");
        }
    }

    #[test]
    fn a_version_counts_from_one() {
        assert_eq!(Version::new(0), None);
        assert_eq!(Version::new(1), Some(Version::FIRST));
    }

    #[test]
    fn time_before_the_epoch_is_time_too() {
        let second = Duration::from_secs(1);
        assert_eq!(SystemTime::from(Timestamp::from_micros(-1_000_000)), SystemTime::UNIX_EPOCH - second);
        assert_eq!(Timestamp::from_micros(1_000_000).since(Timestamp::from_micros(0)), second);
        assert_eq!(Timestamp::from_micros(0).since(Timestamp::from_micros(1_000_000)), Duration::ZERO);
    }
}
