//! Judges one message: a walk over the tree, with RocketMQ's order of evaluation.
//!
//! Invariants: AND and OR stop at the first part that decides, so that a later part that has no result does no harm; NULL is
//! neither TRUE nor FALSE; depth is bounded when the expression is compiled.
//! On failure: [`NoResult`] anywhere that is reached ends it: not chosen.

use std::cmp::Ordering;

use super::parser::{Node, Order, Part};
use super::value::{NoResult, Value, compare, double};

type Properties<'v, 'p> = &'v [Option<&'p str>];

pub fn is_true(root: &Node, properties: Properties<'_, '_>) -> bool {
    value(root, properties) == Ok(Value::Truth(true))
}

fn value<'a>(node: &'a Node, properties: Properties<'_, 'a>) -> Result<Value<'a>, NoResult> {
    Ok(match node {
        Node::Null => Value::Null,
        Node::Truth(truth) => Value::Truth(*truth),
        Node::Int(number) => Value::Int(*number),
        Node::Long(number) => Value::Long(*number),
        Node::Double(number) => Value::Double(*number),
        Node::Text(text) => Value::Text(text),
        Node::Property(at) => properties[usize::from(*at)].map_or(Value::Null, Value::Text),
        Node::Negate(of) => match value(of, properties)? {
            Value::Int(number) => Value::Int(number.wrapping_neg()),
            Value::Long(number) => Value::Long(number.wrapping_neg()),
            Value::Double(number) => Value::Double(-number),
            Value::Null | Value::Truth(_) | Value::Text(_) => Value::Null,
        },
        Node::Not(of) => match truth(value(of, properties)?) {
            Some(truth) => Value::Truth(!truth),
            None => Value::Null,
        },
        // A property is text, and text is no truth value.
        Node::IsTruth(of) => match properties[usize::from(*of)] {
            Some(_) => Value::Truth(false),
            None => Value::Null,
        },
        Node::All(parts) => until(parts, false, properties)?,
        Node::Any(parts) => until(parts, true, properties)?,
        Node::Equal(pair) => equal(value(&pair[0], properties)?, value(&pair[1], properties)?)?,
        Node::IsNull(of) => Value::Truth(value(of, properties)? == Value::Null),
        Node::Ordered(order, pair) => {
            let left = value(&pair[0], properties)?;
            ordered(left, *order, &pair[1], properties)?
        }
        Node::Between { of, bounds, not } => {
            let of = value(of, properties)?;
            let (first, second) =
                if *not { (Order::Less, Order::Greater) } else { (Order::GreaterEqual, Order::LessEqual) };
            let first = ordered(of, first, &bounds[0], properties)?;
            if first == Value::Truth(*not) {
                return Ok(first);
            }
            let second = ordered(of, second, &bounds[1], properties)?;
            if second == Value::Truth(*not) || first != Value::Null { second } else { first }
        }
        Node::Has { of, part, text, not } => Value::Truth(match value(of, properties)? {
            Value::Text(found) if !text.is_empty() => has(found, *part, text) != *not,
            _ => false,
        }),
        Node::In { of, list, not } => match properties[usize::from(*of)] {
            Some(text) => {
                let found = list.binary_search_by(|known| (**known).cmp(text)).is_ok();
                Value::Truth(found != *not)
            }
            None => Value::Null,
        },
    })
}

fn truth(value: Value<'_>) -> Option<bool> {
    match value {
        Value::Truth(truth) => Some(truth),
        other => {
            debug_assert_eq!(other, Value::Null, "the parser asks for truth values");
            None
        }
    }
}

/// The first part that is `decides` decides; NULL if none does and one is NULL.
fn until<'a>(
    parts: &'a [Node],
    decides: bool,
    properties: Properties<'_, 'a>,
) -> Result<Value<'a>, NoResult> {
    let mut unknown = false;
    for part in parts {
        match truth(value(part, properties)?) {
            Some(truth) if truth == decides => return Ok(Value::Truth(decides)),
            Some(_) => {}
            None => unknown = true,
        }
    }
    Ok(if unknown { Value::Null } else { Value::Truth(!decides) })
}

fn equal<'a>(left: Value<'a>, right: Value<'a>) -> Result<Value<'a>, NoResult> {
    Ok(match (left, right) {
        // Two properties that are not there are equal in RocketMQ.
        (Value::Null, Value::Null) => Value::Truth(true),
        (Value::Null, _) => Value::Null,
        (_, Value::Null) => Value::Truth(false),
        _ => Value::Truth(compare(left, right)? == Ordering::Equal),
    })
}

fn ordered<'a>(
    left: Value<'a>,
    order: Order,
    right: &'a Node,
    properties: Properties<'_, 'a>,
) -> Result<Value<'a>, NoResult> {
    if left == Value::Null {
        return Ok(Value::Null);
    }
    let right = value(right, properties)?;
    let ordering = match (left, right) {
        (_, Value::Null) => return Ok(Value::Null),
        (Value::Text(left), Value::Text(right)) => double(left)?.total_cmp(&double(right)?),
        _ => compare(left, right)?,
    };
    Ok(Value::Truth(match order {
        Order::Less => ordering.is_lt(),
        Order::LessEqual => ordering.is_le(),
        Order::Greater => ordering.is_gt(),
        Order::GreaterEqual => ordering.is_ge(),
    }))
}

fn has(text: &str, part: Part, wanted: &str) -> bool {
    match part {
        Part::Anywhere => memchr::memmem::find(text.as_bytes(), wanted.as_bytes()).is_some(),
        Part::Start => text.starts_with(wanted),
        Part::End => text.ends_with(wanted),
    }
}
