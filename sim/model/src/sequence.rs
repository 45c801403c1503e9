//! Sequences: counters that no rollback turns back.

use crate::catalog::SequenceDef;
use crate::error::Error;

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
