//! Sequences: counters that no rollback turns back.

use crate::catalog::SequenceDef;
use crate::error::Error;
use crate::parse::Restart;

/// Where a sequence stands.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sequence {
    last: i64,
    called: bool,
}

impl Sequence {
    pub(crate) fn new(def: &SequenceDef) -> Self {
        Self { last: def.start, called: false }
    }

    /// ALTER SEQUENCE: `restart` says where it begins again, if it does.
    pub(crate) fn altered(self, def: &SequenceDef, restart: Option<Restart>) -> Result<Self, Error> {
        let new = match restart {
            Some(Restart::AtStart) => Self { last: def.start, called: false },
            Some(Restart::With(value)) => Self { last: value, called: false },
            None => self,
        };
        def.within("RESTART", new.last)?;
        Ok(new)
    }

    /// `setval`. Source: PostgreSQL, sequence.c, `do_setval`.
    pub(crate) fn set(def: &SequenceDef, last: i64, called: bool) -> Result<Self, Error> {
        if (def.min..=def.max).contains(&last) {
            return Ok(Self { last, called });
        }
        let (name, min, max) = (&def.name, def.min, def.max);
        let message = format!("setval: value {last} is out of bounds for sequence \"{name}\" ({min}..{max})");
        Err(Error::new("22003", message))
    }

    /// `last_value` and `is_called`.
    pub(crate) fn state(self) -> (i64, bool) {
        (self.last, self.called)
    }

    /// The next value.
    pub(crate) fn next(&mut self, def: &SequenceDef) -> Result<i64, Error> {
        if !self.called {
            self.called = true;
            return Ok(self.last);
        }
        let next = self.last.checked_add(def.increment).filter(|next| (def.min..=def.max).contains(next));
        let (bound, name, wrapped) =
            if def.increment > 0 { ("maximum", def.max, def.min) } else { ("minimum", def.min, def.max) };
        self.last = match next {
            Some(next) => next,
            None if def.cycle => wrapped,
            None => {
                let message = format!("nextval: reached {bound} value of sequence \"{}\" ({name})", def.name);
                return Err(Error::new("2200H", message));
            }
        };
        Ok(self.last)
    }
}
