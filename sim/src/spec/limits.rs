//! What a spec may ask for at most: far more than anybody writes, and little enough that what anybody sends ends soon.
//!
//! isolationtester has no such limits; where it would run for years or until memory is full, here is an error by name.

/// The longest file, in bytes.
pub const TEXT_MAX: usize = 1 << 20;
/// How many sessions a spec has: a server lets in fewer by default.
pub(super) const SESSIONS_MAX: usize = 100;
/// How many steps a permutation has.
pub(super) const PERMUTATION_STEPS_MAX: usize = 10_000;
/// How many markers a step has in a permutation.
pub(super) const MARKERS_MAX: usize = 100;
/// How much a permutation prints, in bytes.
pub const OUTPUT_MAX: usize = 16 << 20;
/// How much is kept of what all permutations of a file print, where it is compared and not printed at once; and how much a search keeps.
pub const KEPT_MAX: usize = 256 << 20;

/// A name in an error: a long one is cut.
pub(super) fn shown(name: &str) -> String {
    const SHOWN_MAX: usize = 100;
    match name.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}..", &name[..end]),
        None => name.to_owned(),
    }
}
