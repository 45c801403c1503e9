//! What was printed beside what was expected, permutation by permutation.
//!
//! isolationtester's output is one text, but what one permutation prints does not hang on the others: so one that was refused does not make
//! the rest incomparable. Of several expected outputs, as PostgreSQL keeps them where the order of events is open, the nearest counts.

use similar::TextDiff;

use super::run::{End, PermutationRun};

/// Where each permutation's output begins.
const START: &str = "\nstarting permutation:";

/// How a permutation compares with what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Likeness {
    /// Byte for byte.
    Same,
    /// It was refused, so that nothing can be said.
    Refused,
    /// Its output is another, or it has none.
    Different,
}

impl Likeness {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Refused => "refused",
            Self::Different => "different",
        }
    }
}

/// Output beside expected output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Which of the expected outputs was nearest.
    pub nearest: usize,
    /// One a permutation.
    pub permutations: Vec<Likeness>,
    /// What is different, as `diff -u` shows it; empty if nothing is.
    pub diff: String,
}

impl Comparison {
    /// Whether anything differs.
    pub fn differs(&self) -> bool {
        !self.diff.is_empty()
    }
}

/// The text before the first permutation, then each permutation's.
fn blocks(text: &str) -> Vec<&str> {
    let mut starts: Vec<usize> = text.match_indices(START).map(|(at, _)| at).collect();
    starts.push(text.len());
    let first = [&text[..starts[0]]];
    first.into_iter().chain(starts.windows(2).map(|pair| &text[pair[0]..pair[1]])).collect()
}

/// Compares what was printed with each of `expected`, of which there is at least one: a name and a text.
pub fn compare(heading: &str, runs: &[PermutationRun], expected: &[(String, String)]) -> Comparison {
    let against = |(place, (name, text)): (usize, &(String, String))| {
        let want = blocks(text);
        let mut found = heading.to_owned();
        let mut permutations = Vec::with_capacity(runs.len());
        for (number, run) in runs.iter().enumerate() {
            let block = want.get(number + 1).copied();
            let likeness = match run.end {
                End::Refused(_) => Likeness::Refused,
                _ if block == Some(&run.output) && run.end == End::Done => Likeness::Same,
                _ => Likeness::Different,
            };
            found.push_str(if likeness == Likeness::Refused { block.unwrap_or_default() } else { &run.output });
            permutations.push(likeness);
        }
        let diff = if found == *text {
            String::new()
        } else {
            TextDiff::from_lines(text, &found).unified_diff().header(name, "found").to_string()
        };
        Comparison { nearest: place, permutations, diff }
    };
    let distance = |comparison: &Comparison| {
        let different = comparison.permutations.iter().filter(|one| **one == Likeness::Different).count();
        (comparison.differs(), different, comparison.diff.len())
    };
    let all = expected.iter().enumerate().map(against);
    all.min_by_key(distance).expect("there is something to compare with")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(output: &str, end: End) -> PermutationRun {
        PermutationRun { steps: Vec::new(), output: output.to_owned(), told: Vec::new(), complaints: Vec::new(), end }
    }

    #[test]
    fn the_nearest_of_several_counts_and_what_was_refused_does_not() {
        let one = "\nstarting permutation: a\nstep a: SELECT 1\n";
        let runs = [run(one, End::Done), run("\nstarting permutation: b\n", End::Refused("MERGE".into()))];
        let text = |last: &str| format!("two\n{one}\nstarting permutation: b\n{last}");
        let other = text("").replace("step a", "step z");
        let found = compare("two\n", &runs, &[("x".into(), other.clone()), ("y".into(), text("anything\n"))]);
        assert_eq!((found.nearest, found.differs()), (1, false));
        assert_eq!(found.permutations, [Likeness::Same, Likeness::Refused]);
        let found = compare("two\n", &runs, &[("x".into(), other)]);
        assert_eq!(found.permutations, [Likeness::Different, Likeness::Refused]);
        assert!(found.diff.contains("-step z: SELECT 1\n+step a: SELECT 1\n"), "{}", found.diff);
    }

    #[test]
    fn a_permutation_too_few_is_a_difference() {
        let one = "\nstarting permutation: a\n";
        let found = compare("h\n", &[run(one, End::Done)], &[("x".into(), format!("h\n{one}{one}"))]);
        assert!(found.differs());
        let found = compare("h\n", &[run(one, End::Stuck("a".into()))], &[("x".into(), format!("h\n{one}"))]);
        assert_eq!(found.permutations, [Likeness::Different]);
    }
}
