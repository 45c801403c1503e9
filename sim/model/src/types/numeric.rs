//! `numeric`, as far as it fits into 38 digits. What does not fit is refused, never rounded.

use std::cmp::Ordering;

use super::value::Numeric;
use crate::error::Error;

/// The largest power of ten in an `i128`.
const SCALE_MAX: u8 = 38;

fn too_large() -> Error {
    Error::refused("numeric values of more than 38 digits")
}

/// `text` as a number, if it is one that fits.
pub(crate) fn parse(text: &str) -> Option<Numeric> {
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut digits: i128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        digits = digits.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    if digits == 0 {
        scale = scale.max(0);
    }
    while scale < 0 {
        digits = digits.checked_mul(10)?;
        scale += 1;
    }
    let scale = u8::try_from(scale).ok().filter(|scale| *scale <= SCALE_MAX)?;
    Some(Numeric { digits: if negative { -digits } else { digits }, scale })
}

/// As PostgreSQL prints it: with all the digits behind the point that it has.
pub(crate) fn print(value: Numeric) -> String {
    let digits = value.digits.unsigned_abs().to_string();
    let scale = usize::from(value.scale);
    let sign = if value.digits < 0 { "-" } else { "" };
    if scale == 0 {
        return format!("{sign}{digits}");
    }
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}

pub(crate) fn from_int(value: i64) -> Numeric {
    Numeric { digits: i128::from(value), scale: 0 }
}

fn rescale(value: Numeric, scale: u8) -> Option<i128> {
    10_i128.checked_pow(u32::from(scale - value.scale)).and_then(|factor| value.digits.checked_mul(factor))
}

pub(crate) fn compare(left: Numeric, right: Numeric) -> Ordering {
    let scale = left.scale.max(right.scale);
    match (rescale(left, scale), rescale(right, scale)) {
        (Some(left), Some(right)) => left.cmp(&right),
        // Whoever does not fit is the larger in size, so its sign decides.
        (None, _) => left.digits.cmp(&0),
        (_, None) => 0.cmp(&right.digits),
    }
}

pub(crate) fn add(left: Numeric, right: Numeric) -> Result<Numeric, Error> {
    let scale = left.scale.max(right.scale);
    let sum = rescale(left, scale).zip(rescale(right, scale)).and_then(|(left, right)| left.checked_add(right));
    Ok(Numeric { digits: sum.ok_or_else(too_large)?, scale })
}

pub(crate) fn negate(value: Numeric) -> Numeric {
    Numeric { digits: -value.digits, scale: value.scale }
}

pub(crate) fn multiply(left: Numeric, right: Numeric) -> Result<Numeric, Error> {
    let scale = left.scale + right.scale;
    let digits = left.digits.checked_mul(right.digits).filter(|_| scale <= SCALE_MAX).ok_or_else(too_large)?;
    Ok(Numeric { digits, scale })
}

/// The weight of its first digit in base 10000, and that digit.
fn first_digit(value: Numeric) -> (i32, u128) {
    let digits = value.digits.unsigned_abs();
    let Some(highest) = digits.checked_ilog10() else { return (0, 0) };
    let scale = i32::from(value.scale);
    let weight = (highest.cast_signed() - scale).div_euclid(4);
    let power = |places: i32| 10_u128.pow(places.unsigned_abs());
    let shift = scale + 4 * weight;
    (weight, if shift > 0 { digits / power(shift) } else { digits * power(shift) })
}

/// Source: PostgreSQL, numeric.c, `select_div_scale` and `div_var`.
pub(crate) fn divide(left: Numeric, right: Numeric) -> Result<Numeric, Error> {
    if right.digits == 0 {
        return Err(Error::new("22012", "division by zero"));
    }
    let ((left_weight, left_first), (right_weight, right_first)) = (first_digit(left), first_digit(right));
    let weight = left_weight - right_weight - i32::from(left_first <= right_first);
    let scale = (16 - 4 * weight).max(left.scale.into()).max(right.scale.into());
    let scale = u8::try_from(scale).ok().filter(|scale| *scale <= SCALE_MAX).ok_or_else(too_large)?;
    // One digit after the other, for the dividend might not fit.
    let divisor = right.digits.unsigned_abs();
    let (mut quotient, mut rest) = (left.digits.unsigned_abs() / divisor, left.digits.unsigned_abs() % divisor);
    for _ in 0..scale - left.scale + right.scale {
        rest = rest.checked_mul(10).ok_or_else(too_large)?;
        quotient = quotient.checked_mul(10).and_then(|ten| ten.checked_add(rest / divisor)).ok_or_else(too_large)?;
        rest %= divisor;
    }
    quotient += u128::from(rest >= divisor.div_ceil(2));
    let digits = i128::try_from(quotient).map_err(|_| too_large())?;
    Ok(Numeric { digits: if (left.digits < 0) == (right.digits < 0) { digits } else { -digits }, scale })
}

pub(crate) fn remainder(left: Numeric, right: Numeric) -> Result<Numeric, Error> {
    if right.digits == 0 {
        return Err(Error::new("22012", "division by zero"));
    }
    let scale = left.scale.max(right.scale);
    let sides = rescale(left, scale).zip(rescale(right, scale)).ok_or_else(too_large)?;
    Ok(Numeric { digits: sides.0 % sides.1, scale })
}

/// Without its last `places` digits, rounded half away from zero.
fn without(digits: i128, places: u32) -> i128 {
    let Some(unit) = 10_i128.checked_pow(places) else { return 0 };
    let (whole, rest) = (digits / unit, digits % unit);
    let away = if rest.unsigned_abs() >= unit.unsigned_abs().div_ceil(2) && unit > 1 { rest.signum() } else { 0 };
    whole + away
}

/// Rounded, as PostgreSQL's cast to an integer type does.
pub(crate) fn to_int(value: Numeric) -> Option<i64> {
    i64::try_from(without(value.digits, value.scale.into())).ok()
}

/// With so many digits behind the point; where that is less than none, zeros stand before it.
pub(crate) fn round(value: Numeric, scale: i64) -> Result<Numeric, Error> {
    let own = i64::from(value.scale);
    if scale > own {
        let scale = u8::try_from(scale).ok().filter(|scale| *scale <= SCALE_MAX).ok_or_else(too_large)?;
        return Ok(Numeric { digits: rescale(value, scale).ok_or_else(too_large)?, scale });
    }
    let digits = without(value.digits, u32::try_from(own - scale).expect("a scale is small"));
    if let Ok(scale) = u8::try_from(scale) {
        return Ok(Numeric { digits, scale });
    }
    let unit = u32::try_from(-scale).ok().and_then(|places| 10_i128.checked_pow(places));
    let digits = if digits == 0 { Some(0) } else { unit.and_then(|unit| digits.checked_mul(unit)) };
    Ok(Numeric { digits: digits.ok_or_else(too_large)?, scale: 0 })
}
