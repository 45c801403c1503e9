//! Choices: whatever is random here is made of a list of numbers, so that proptest shrinks the list and not what was made of it.
//!
//! A number says which of some alternatives is taken; where the list ends, it is the first. So the first alternative is always the simplest
//! one, a shorter list makes a smaller program, and smaller numbers make a simpler one.

/// A list of numbers that is being used up.
pub(crate) struct Choices<'t> {
    left: std::slice::Iter<'t, u16>,
}

impl<'t> Choices<'t> {
    pub(crate) fn new(numbers: &'t [u16]) -> Self {
        Self { left: numbers.iter() }
    }

    /// A number below `count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.left.next().map_or(0, |number| usize::from(*number) % count)
    }

    pub(crate) fn of<T: Copy>(&mut self, alternatives: &[T]) -> T {
        alternatives[self.below(alternatives.len())]
    }

    /// True in one case of `count`, and never at the list's end.
    pub(crate) fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == count - 1
    }
}
