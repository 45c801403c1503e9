//! Names of the test bed's databases, which say whose they are.
//!
//! ```text
//! skiptrace_4711_0123abcd_suite_7_adba4eaf
//! ─────── owner ───────── ─ what ─ ─ seal ─
//! ```
//!
//! A database has its owner in its name from the moment when it is there: there is none that its owner created and had no time to
//! mark. The seal is a hash of all before it, so that nothing has such a name by chance, nor because somebody thought up a similar one.

use xxhash_rust::xxh3::xxh3_64;

/// What a name is for has at most so many letters: PostgreSQL cuts a name off after 63 bytes, and would so lose its seal.
pub(super) const PREFIX_MAX: usize = 12;

/// A name that no other test bed has.
pub(super) fn new_owner() -> String {
    format!("skiptrace_{}_{:08x}", std::process::id(), unique())
}

/// Unlikely to be met again: names that two processes must not share, process ids being used again and shared by containers.
pub(super) fn unique() -> u32 {
    use std::hash::{BuildHasher, Hasher};
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
    u32::try_from(bits & u64::from(u32::MAX)).expect("masked")
}

/// The name of `owner`'s database `number`, for `prefix`.
pub(super) fn database(owner: &str, prefix: &str, number: u32) -> String {
    assert!(
        prefix.len() <= PREFIX_MAX && prefix.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
        "a prefix is at most {PREFIX_MAX} of a-z and _, found {prefix:?}"
    );
    let name = format!("{owner}_{prefix}_{number}");
    format!("{name}_{}", seal(&name))
}

/// Whose database this is; none, if it is not a test bed's.
pub(super) fn owner_of(database: &str) -> Option<&str> {
    let (name, found) = database.rsplit_once('_')?;
    if found != seal(name) {
        return None;
    }
    let (end, _) = name.match_indices('_').nth(2)?;
    Some(&name[..end])
}

fn seal(name: &str) -> String {
    format!("{:08x}", xxh3_64(name.as_bytes()) & u64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_its_owner_and_another_name_nobody() {
        let owner = new_owner();
        let longest = database(&owner, &"x".repeat(PREFIX_MAX), u32::MAX);
        for name in [database(&owner, "a_b", 0), longest.clone()] {
            assert_eq!(owner_of(&name), Some(owner.as_str()), "{name}");
            for at in 0..name.len() {
                let mut other = name.clone();
                let letter = if &name[at..=at] == "7" { "8" } else { "7" };
                other.replace_range(at..=at, letter);
                assert_eq!(owner_of(&other), None, "{other}");
            }
        }
        let pid_digits_max = "4194304".len() - std::process::id().to_string().len();
        assert!(longest.len() + pid_digits_max <= 63, "{longest}");
        for name in ["", "_", "postgres", "skiptrace", "skiptrace_notes", "skiptrace_4711_0123abcd_suite_7"] {
            assert_eq!(owner_of(name), None, "{name}");
        }
    }

    #[test]
    fn the_seal_is_the_same_in_every_version() {
        let name = database("skiptrace_4711_0123abcd", "suite", 7);
        assert_eq!(name, "skiptrace_4711_0123abcd_suite_7_adba4eaf");
    }
}
