//! Run-time settings of a session: SET, SET LOCAL and `set_config`.

use smol_str::SmolStr;

use crate::error::Error;

/// The settings of a session that are not at their defaults.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    session: Vec<(SmolStr, SmolStr)>,
    /// Until the end of the transaction.
    local: Vec<(SmolStr, SmolStr)>,
    /// What a rollback puts back: which layer, the name and the old value.
    undo: Vec<(bool, SmolStr, Option<SmolStr>)>,
    /// Whether `statement_timeout` may be set.
    limits_statements: bool,
    /// What `application_name` is where it is not set.
    program: SmolStr,
    /// Durations that have been set before: of which setting, as it was said, and as it is shown.
    durations: Vec<(SmolStr, SmolStr, SmolStr)>,
}

/// What is set; not what is known of durations.
impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        (&self.session, &self.local, &self.undo) == (&other.session, &other.local, &other.undo)
    }
}

/// A longer name is cut off, with a notice.
const NAME_MAX: usize = 63;

/// How many durations are kept.
const DURATIONS_MAX: usize = 4;

/// Settings that are known, and their defaults. Others need a dot in their names.
const DEFAULTS: [(&str, &str); 11] = [
    ("application_name", ""),
    ("client_encoding", "UTF8"),
    ("deadlock_timeout", "1s"),
    ("default_transaction_isolation", "read committed"),
    ("idle_in_transaction_session_timeout", "0"),
    ("lock_timeout", "0"),
    ("search_path", "\"$user\", public"),
    ("statement_timeout", "0"),
    ("synchronous_commit", "on"),
    ("timezone", "Etc/UTC"),
    ("transaction_read_only", "off"),
];

/// Settings that change what statements mean or when they end, and that nothing here looks at: only their defaults are true.
const NOT_FOLLOWED: [&str; 5] =
    ["client_encoding", "default_transaction_isolation", "search_path", "timezone", "transaction_read_only"];

fn default(name: &str) -> Option<&'static str> {
    DEFAULTS.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
}

fn put(layer: &mut Vec<(SmolStr, SmolStr)>, name: &SmolStr, value: Option<SmolStr>) -> Option<SmolStr> {
    let place = layer.iter().position(|(known, _)| known == name);
    match (place, value) {
        (Some(place), Some(value)) => Some(std::mem::replace(&mut layer[place].1, value)),
        (Some(place), None) => Some(layer.remove(place).1),
        (None, Some(value)) => {
            layer.push((name.clone(), value));
            None
        }
        (None, None) => None,
    }
}

impl Settings {
    /// The value of a setting; none: there is no such setting.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let set = self.local.iter().chain(&self.session).find(|(known, _)| **known == *name);
        let default = || if name == "application_name" { Some(&*self.program) } else { default(name) };
        set.map(|(_, value)| &**value).or_else(default)
    }

    /// Sets a value, or with none puts back the default.
    pub(crate) fn set(&mut self, name: &SmolStr, value: Option<SmolStr>, local: bool) -> Result<(), Error> {
        let known = value.as_ref().and_then(|value| {
            self.durations.iter().find(|(of, said, _)| of == name && said == value).map(|(_, _, shown)| shown.clone())
        });
        let (custom, value) = match known {
            Some(shown) => (false, Some(shown)),
            None => (name.contains('.'), self.checked(name, value)?),
        };
        if custom && !self.session.iter().any(|(known, _)| known == name) {
            // Once its name was used, a custom setting exists, empty, for the rest of the session.
            self.session.push((name.clone(), "".into()));
        }
        self.limits_statements |= name == "statement_timeout";
        let layer = if local { &mut self.local } else { &mut self.session };
        let old = put(layer, name, value);
        self.undo.push((local, name.clone(), old));
        if !local && let Some(old) = put(&mut self.local, name, None) {
            self.undo.push((true, name.clone(), Some(old)));
        }
        Ok(())
    }

    /// A value as it is kept.
    fn checked(&mut self, name: &SmolStr, value: Option<SmolStr>) -> Result<Option<SmolStr>, Error> {
        let custom = name.contains('.');
        if !custom && default(name).is_none() {
            return Err(unknown(name));
        }
        if custom && !name.split('.').all(is_part_of_a_name) {
            return Err(Error::new("42602", format!("invalid configuration parameter name \"{name}\"")));
        }
        if custom && name.chars().any(|letter| letter.is_ascii_uppercase()) {
            return Err(Error::refused(format_args!("the setting {name}, for its capitals")));
        }
        // One that is put back is empty.
        let value = if custom { Some(value.unwrap_or_default()) } else { value };
        let value = match (&**name, value) {
            ("application_name", Some(value)) if value.len() > NAME_MAX => {
                return Err(Error::refused(format_args!("an application_name of more than {NAME_MAX} bytes")));
            }
            ("application_name", Some(value)) => Some(clean(&value)),
            ("synchronous_commit", Some(value)) => Some(synchronous(&value)?.into()),
            (_, value) => value,
        };
        if let Some(value) = &value
            && NOT_FOLLOWED.contains(&&**name)
            && default(name) != Some(&**value)
        {
            return Err(Error::refused(format_args!("another value of the setting {name} than its default")));
        }
        let Some(said) = value.as_ref().filter(|_| !custom && name.ends_with("_timeout")) else { return Ok(value) };
        let shown = shown(microseconds(name, said)?);
        if self.durations.len() == DURATIONS_MAX {
            self.durations.clear();
        }
        self.durations.push((name.clone(), said.clone(), shown.clone()));
        Ok(Some(shown))
    }

    /// What a program calls itself when it connects, and what it calls the connection then.
    pub(crate) fn introduce(&mut self, program: &str, application_name: &str) {
        self.program = clean(program);
        put(&mut self.session, &"application_name".into(), Some(clean(application_name)));
    }

    /// Whether nothing was ever set.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// How much there is to undo, for a savepoint.
    pub(crate) fn mark(&self) -> usize {
        self.undo.len()
    }

    /// Takes back what was set since `mark`.
    pub(crate) fn roll_back_to(&mut self, mark: usize) {
        while self.undo.len() > mark {
            let (local, name, old) = self.undo.pop().expect("not empty");
            put(if local { &mut self.local } else { &mut self.session }, &name, old);
        }
    }

    /// Puts back all defaults.
    pub(crate) fn clear(&mut self) {
        self.session.clear();
        self.local.clear();
        self.undo.clear();
        self.limits_statements = false;
    }

    /// The transaction ends.
    pub(crate) fn end_transaction(&mut self, committed: bool) {
        if !committed {
            self.roll_back_to(0);
        }
        self.undo.clear();
        self.local.clear();
    }

    /// `lock_timeout` in microseconds; none: no limit.
    pub(crate) fn lock_timeout(&self) -> Option<i64> {
        self.duration("lock_timeout").filter(|limit| *limit > 0)
    }

    /// `statement_timeout` in microseconds; none: no limit.
    pub(crate) fn statement_timeout(&self) -> Option<i64> {
        if !self.limits_statements {
            return None;
        }
        self.duration("statement_timeout").filter(|limit| *limit > 0)
    }

    /// `deadlock_timeout` in microseconds.
    pub(crate) fn deadlock_timeout(&self) -> i64 {
        self.duration("deadlock_timeout").unwrap_or(1_000_000)
    }

    /// A duration that is set; none: it is at its default.
    fn duration(&self, name: &str) -> Option<i64> {
        let set = self.local.iter().chain(&self.session).find(|(known, _)| **known == *name)?;
        microseconds(name, &set.1).ok()
    }
}

/// Source: PostgreSQL, guc.c, `valid_custom_variable_name`.
fn is_part_of_a_name(part: &str) -> bool {
    let begins =
        part.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_' || !first.is_ascii());
    begins && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$') || !c.is_ascii())
}

/// A name of ASCII, whose other bytes are question marks. Source: PostgreSQL, src/common/string.c, `pg_clean_ascii`.
fn clean(name: &str) -> SmolStr {
    name.bytes().map(|byte| if (32..127).contains(&byte) { char::from(byte) } else { '?' }).collect()
}

/// Source: PostgreSQL, guc.c, `synchronous_commit_options`.
fn synchronous(value: &str) -> Result<&'static str, Error> {
    Ok(match &*value.to_ascii_lowercase() {
        "on" | "true" | "yes" | "1" => "on",
        "off" | "false" | "no" | "0" => "off",
        "local" => "local",
        "remote_write" => "remote_write",
        "remote_apply" => "remote_apply",
        _ => {
            let message = format!("invalid value for parameter \"synchronous_commit\": \"{value}\"");
            return Err(Error::new("22023", message));
        }
    })
}

/// A duration as SHOW tells it: in the largest unit that divides it. Source: PostgreSQL, src/backend/utils/misc/guc.c,
/// `convert_int_from_base_unit`; these settings count milliseconds.
fn shown(microseconds: i64) -> SmolStr {
    let milliseconds = microseconds / 1_000;
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s"), (1, "ms")];
    match units.into_iter().find(|(unit, _)| milliseconds % unit == 0) {
        Some((unit, name)) if milliseconds > 0 => SmolStr::new(format!("{}{name}", milliseconds / unit)),
        _ => "0".into(),
    }
}

/// The names of PostgreSQL's settings, a line each.
const OF_POSTGRES: &str = include_str!("settings_of_postgres.txt");

pub(crate) fn unknown(name: &str) -> Error {
    if OF_POSTGRES.lines().any(|known| known == name) {
        return Error::refused(format_args!("the setting {name}"));
    }
    Error::new("42704", format!("unrecognized configuration parameter \"{name}\""))
}

/// A duration as SET takes it: milliseconds, or a number with a unit. What is kept is what SHOW tells, so it is read without losing anything.
/// Source: PostgreSQL, src/backend/utils/misc/guc.c, `parse_int`, `convert_to_base_unit`, `parse_and_validate_value`.
fn microseconds(name: &str, value: &str) -> Result<i64, Error> {
    let invalid = || Error::new("22023", format!("invalid value for parameter \"{name}\": \"{value}\""));
    let text = value.trim_start();
    let end = text.find(|letter: char| !matches!(letter, '0'..='9' | '+' | '-' | '.')).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let plain = digits.trim_start_matches(['+', '-']);
    let octal = plain.len() > 1 && plain.starts_with('0') && !plain.contains('.');
    if octal || rest.starts_with(['x', 'X', 'e', 'E']) {
        return Err(Error::refused(format_args!("the number {value} as the value of {name}")));
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole: i64 = match whole {
        "" | "+" | "-" if !fraction.is_empty() => 0,
        whole => whole.parse().map_err(|_| invalid())?,
    };
    if !fraction.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(invalid());
    }
    let unit: i64 = match rest.trim() {
        "us" => 1,
        "" | "ms" => 1_000,
        "s" => 1_000_000,
        "min" => 60_000_000,
        "h" => 3_600_000_000,
        "d" => 86_400_000_000,
        _ => return Err(invalid()),
    };
    let more = parts_of(fraction, unit)
        .ok_or_else(|| Error::refused(format_args!("the fraction {value} as the value of {name}")))?;
    let more = if digits.starts_with('-') { -more } else { more };
    let amount = whole.checked_mul(unit).and_then(|amount| amount.checked_add(more)).ok_or_else(invalid)?;
    let milliseconds = milliseconds(amount);
    if i32::try_from(milliseconds).is_err() {
        return Err(invalid());
    }
    let least = i64::from(name == "deadlock_timeout");
    if milliseconds < least {
        let message =
            format!("{milliseconds} ms is outside the valid range for parameter \"{name}\" ({least} .. {})", i32::MAX);
        return Err(Error::new("22023", message));
    }
    Ok(milliseconds * 1_000)
}

/// So many digits of a unit; none: not a whole number of microseconds.
fn parts_of(fraction: &str, unit: i64) -> Option<i64> {
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return Some(0);
    }
    let (amount, scale) = (fraction.parse::<i64>().ok()?, 10_i64.checked_pow(u32::try_from(fraction.len()).ok()?)?);
    let product = amount.checked_mul(unit)?;
    (product % scale == 0).then_some(product / scale)
}

/// Rounded, half of one to the even one.
fn milliseconds(microseconds: i64) -> i64 {
    let (whole, rest) = (microseconds.div_euclid(1_000), microseconds.rem_euclid(1_000));
    whole + i64::from(rest > 500 || rest == 500 && whole % 2 != 0)
}
