//! Text that somebody has damaged. A damage is plain data, so that proptest can leave out what a failure does not need.

use proptest::prelude::*;

/// One damage. What the numbers mean, [`apply`] says.
#[derive(Clone, Debug)]
pub(crate) struct Damage {
    kind: u8,
    at: u16,
    other: u16,
    size: u8,
}

/// Up to four.
pub(crate) fn damages() -> impl Strategy<Value = Vec<Damage>> {
    let damage = (0..10_u8, any::<u16>(), any::<u16>(), any::<u8>()).prop_map(|(kind, at, other, size)| Damage {
        kind,
        at,
        other,
        size,
    });
    prop::collection::vec(damage, 0..=4)
}

const NUMBERS: [&str; 14] = [
    "0",
    "-1",
    "2147483647",
    "2147483648",
    "-9223372036854775808",
    "9223372036854775807",
    "9223372036854775808",
    "1000000000000",
    "1e100000",
    "1e-2147483648",
    "1e99999999999",
    "0.00000000000000000000000000000000000001",
    "99999999999999999999999999999999999999",
    "1e-38",
];
const NESTS: [(&str, &str); 10] = [
    ("(", ")"),
    ("(SELECT ", ")"),
    ("NOT ", ""),
    ("- ", ""),
    ("CASE WHEN true THEN ", " END"),
    ("ARRAY[", "]"),
    ("jsonb_build_array(", ")"),
    ("1 + ", ""),
    ("repeat('ab', ", ")"),
    ("EXISTS (SELECT 1 FROM t WHERE ", ")"),
];
const DEPTHS: [usize; 6] = [1, 2, 5, 14, 60, 1500];
const TIMES: [usize; 5] = [1, 3, 20, 300, 3000];
const SIGNS: &str = "'\"$();,.:*%\\\0\u{e4}\u{1F600}[]{}-+/0 9eE|<>=!~@#?&^_`\n\t";

/// Words, and what stands between them sign by sign.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    for c in text.chars() {
        let letter = c.is_alphanumeric() || c == '_';
        let last = words.last_mut().expect("never empty");
        if letter && last.chars().all(|c| c.is_alphanumeric() || c == '_') {
            last.push(c);
        } else {
            words.push(c.into());
        }
    }
    words
}

fn pick<T: Copy>(from: &[T], number: u16) -> T {
    from[usize::from(number) % from.len()]
}

/// `text` with the damages done to it; what is put in comes from `pool`.
pub(crate) fn apply(text: &str, damages: &[Damage], pool: &[String]) -> String {
    let mut words = words(text);
    for Damage { kind, at, other, size } in damages {
        let at = usize::from(*at) % words.len();
        let end = words.len().min(at + 1 + usize::from(*size) % 4);
        let from = usize::from(*other) % pool.len();
        match kind {
            0 => drop(words.drain(at..end)),
            1 => {
                let copy: Vec<String> = words[at..end].to_vec();
                words.splice(at..at, copy);
            }
            2 => {
                let other = usize::from(*other) % words.len();
                words.swap(at, other);
            }
            3 => {
                let part: Vec<String> = pool[from..].iter().take(1 + usize::from(*size) % 8).cloned().collect();
                words.splice(at..end, part);
            }
            4 => words[at].clone_from(&pool[from]),
            5 => {
                let digits = |word: &String| word.starts_with(|c: char| c.is_ascii_digit());
                let found = (at..words.len()).chain(0..at).find(|at| digits(&words[*at])).unwrap_or(at);
                words[found] = pick(&NUMBERS, *other).into();
            }
            6 => {
                let ((open, close), depth) = (pick(&NESTS, *other), pick(&DEPTHS, u16::from(*size)));
                words[at] = format!("{}{}{}", open.repeat(depth), words[at], close.repeat(depth));
            }
            7 => {
                let item: String = words[at..end].concat();
                words[at] = format!("{}{item}", format!("{item}, ").repeat(pick(&TIMES, *other)));
            }
            8 => {
                let signs: Vec<char> = SIGNS.chars().collect();
                let mut chars: Vec<char> = words[at].chars().collect();
                chars.insert(usize::from(*size) % (chars.len() + 1), pick(&signs, *other));
                words[at] = chars.into_iter().collect();
            }
            _ => words[at] = "x".repeat(pick(&TIMES, *other) * 3),
        }
        if words.is_empty() {
            break;
        }
    }
    words.concat()
}
