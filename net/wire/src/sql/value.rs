//! Values of an expression, and how two of them compare.
//!
//! Invariants: conversions and their failures are those of RocketMQ 5.5.0 ComparisonExpression#__compare with
//! `convertStringExpressions`, and of Java's `Integer.valueOf`, `Long.valueOf`, `Double.valueOf`, `Boolean.valueOf`.
//! On failure: [`NoResult`]: the message is not chosen.

use std::cmp::Ordering;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    Null,
    Truth(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(&'a str),
}

/// A conversion failed while a message was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoResult;

/// Compares two values that are not NULL. Kinds that do not compare give "less", as in Java.
pub fn compare(left: Value<'_>, right: Value<'_>) -> Result<Ordering, NoResult> {
    use Value::{Double, Int, Long, Null, Text, Truth};
    Ok(match (left, right) {
        (Truth(l), Truth(r)) => l.cmp(&r),
        // Java casts the wrong one of the two here.
        (Truth(_), Text(_)) => return Err(NoResult),
        (Text(l), Truth(r)) => l.eq_ignore_ascii_case("true").cmp(&r),
        (Text(l), Text(r)) => l.cmp(r),
        (Int(l), Text(r)) => l.cmp(&int(r)?),
        (Text(l), Int(r)) => int(l)?.cmp(&r),
        (Long(l), Text(r)) => l.cmp(&long(r)?),
        (Text(l), Long(r)) => long(l)?.cmp(&r),
        (Double(l), Text(r)) => l.total_cmp(&double(r)?),
        (Text(l), Double(r)) => double(l)?.total_cmp(&r),
        (Int(l), Int(r)) => l.cmp(&r),
        (Int(l), Long(r)) => i64::from(l).cmp(&r),
        (Long(l), Int(r)) => l.cmp(&i64::from(r)),
        (Long(l), Long(r)) => l.cmp(&r),
        (Int(l), Double(r)) => f64::from(l).total_cmp(&r),
        (Double(l), Int(r)) => l.total_cmp(&f64::from(r)),
        (Long(l), Double(r)) => (l as f64).total_cmp(&r),
        (Double(l), Long(r)) => l.total_cmp(&(r as f64)),
        (Double(l), Double(r)) => l.total_cmp(&r),
        (Null, _) | (_, Null) | (Truth(_), _) | (_, Truth(_)) => Ordering::Less,
    })
}

fn int(text: &str) -> Result<i32, NoResult> {
    text.parse().map_err(|_| NoResult)
}

fn long(text: &str) -> Result<i64, NoResult> {
    text.parse().map_err(|_| NoResult)
}

/// Java's `Double.valueOf`, for decimal text: blanks around it, an `f` or `d` behind it, `NaN` and `Infinity`. There is one
/// NaN, above everything, as `Double.compareTo` has it.
pub fn double(text: &str) -> Result<f64, NoResult> {
    let text = text.trim_matches(|c| c <= ' ');
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        "NaN" => return Ok(f64::from_bits(0x7ff8_0000_0000_0000)),
        "Infinity" if text.starts_with('-') => return Ok(f64::NEG_INFINITY),
        "Infinity" => return Ok(f64::INFINITY),
        _ => {}
    }
    let number = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    // Rust would read words like "inf" as well.
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return Err(NoResult);
    }
    number.parse().map_err(|_| NoResult)
}
