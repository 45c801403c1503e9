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
