//! `timestamptz`, in the time zone UTC: microseconds since the Unix epoch.

use crate::error::Error;

const DAY: i64 = 86_400_000_000;

/// As PostgreSQL prints it with `TimeZone = 'UTC'` and `DateStyle = 'ISO'`: 2024-01-31 12:00:00.5+00.
pub(crate) fn print(micros: i64) -> String {
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let (year, month, day) = civil(days);
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction =
        if fraction == 0 { String::new() } else { format!(".{fraction:06}").trim_end_matches('0').to_owned() };
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}{fraction}+00{era}")
}

/// The ISO form only, in UTC or with an offset; anything else that PostgreSQL reads is refused.
pub(crate) fn parse(text: &str) -> Result<i64, Error> {
    read(text)
        .ok_or_else(|| Error::refused(format!("the timestamptz literal '{text}' (write 2024-01-31 12:00:00.5+00)")))
}

fn read(text: &str) -> Option<i64> {
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00:00+00"));
    let mut parts =
        date.splitn(3, '-').map(|part| part.parse::<i64>().ok().filter(|_| part.bytes().all(|b| b.is_ascii_digit())));
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || day < 1
        || civil(days(year, month, day)) != (year, month, day)
    {
        return None;
    }
    let (time, offset) = match time.find(['+', '-', 'Z']) {
        Some(at) => (&time[..at], offset_minutes(&time[at..])?),
        None => return None,
    };
    let (whole, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = whole.splitn(3, ':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    if hour > 23 || minute > 59 || second > 59 || fraction.len() > 6 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let fraction = format!("{fraction:0<6}").parse::<i64>().ok()?;
    let seconds = hour * 3600 + (minute - offset) * 60 + second;
    Some(days(year, month, day) * DAY + seconds * 1_000_000 + fraction)
}

fn offset_minutes(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (hours, minutes) = text[1..].split_once(':').unwrap_or((&text[1..], "0"));
    let size = hours.parse::<i64>().ok().filter(|hours| (0..16).contains(hours))? * 60 + minutes.parse::<i64>().ok()?;
    Some(if text.starts_with('-') { -size } else { size })
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar. Years begin in March, so that a leap day ends one.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The reverse of [`days`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let (day, month) = (of_year - (153 * shifted + 2) / 5 + 1, (shifted + 2) % 12 + 1);
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
