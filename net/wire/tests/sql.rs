//! The SQL92 filter beside a second one that is as simple as possible: random expressions over random properties.
//!
//! The second one works on a tree of its own, with owned values and a map, straight from the rules in the reference's
//! expression classes. What is compared is the whole way from text to "chosen or not".

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringmq_wire::properties;
use ringmq_wire::sql::{Bounds, Program};

const BOUNDS: Bounds = Bounds { bytes: 1 << 20, nesting: 200, nodes: 100_000 };

#[derive(Clone, Debug)]
enum Expr {
    Name(String),
    Text(String),
    Whole(i64),
    Half(i64),
    Truth(bool),
    Minus(Box<Expr>),
    Not(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Equal(Box<Expr>, Box<Expr>, bool),
    IsNull(Box<Expr>, bool),
    Order(Box<Expr>, &'static str, Box<Expr>),
    Between(Box<Expr>, i64, i64, bool),
    Has(Box<Expr>, &'static str, String, bool),
    In(String, Vec<String>, bool),
}

/// As text. Every part in parentheses, so that precedence plays no role; the unit tests look at that.
fn show(expr: &Expr) -> String {
    let not = |not: &bool| if *not { " noT" } else { "" };
    let quoted = |text: &String| format!("'{}'", text.replace('\'', "''"));
    match expr {
        Expr::Name(name) => name.clone(),
        Expr::Text(text) => quoted(text),
        Expr::Whole(number) => number.to_string(),
        Expr::Half(number) => format!("{number}.5"),
        Expr::Truth(truth) => truth.to_string(),
        Expr::Minus(of) => format!("- ({})", show(of)),
        Expr::Not(of) => format!("not ({})", show(of)),
        Expr::And(parts) => parts.iter().map(|p| format!("({})", show(p))).collect::<Vec<_>>().join(" and "),
        Expr::Or(parts) => parts.iter().map(|p| format!("({})", show(p))).collect::<Vec<_>>().join(" Or "),
        Expr::Equal(l, r, equal) => {
            format!("({}) {} ({})", show(l), if *equal { "=" } else { "<>" }, show(r))
        }
        Expr::IsNull(of, is) => format!("({}) is {}", show(of), if *is { "null" } else { "not null" }),
        Expr::Order(l, order, r) => format!("({}){order}({})", show(l), show(r)),
        Expr::Between(of, low, high, n) => format!("({}){} between {low} and {high}", show(of), not(n)),
        Expr::Has(of, word, text, n) => format!("({}){} {word} {}", show(of), not(n), quoted(text)),
        Expr::In(name, list, n) => {
            let list: Vec<_> = list.iter().map(quoted).collect();
            format!("{name}{} in ({})", not(n), list.join(","))
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Value {
    Truth(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(String),
}

/// `Err`: the evaluation throws. `None`: NULL.
type Outcome = Result<Option<Value>, ()>;
type Message = BTreeMap<String, String>;

fn whole(number: i64) -> Value {
    i32::try_from(number).map_or(Value::Long(number), Value::Int)
}

fn number(text: &str) -> Result<f64, ()> {
    if text.contains("inf") || text.contains("nan") { Err(()) } else { text.parse().map_err(|_| ()) }
}

/// Brings both to one kind; `None`: they have none in common.
fn alike(left: Value, right: Value) -> Result<Option<(Value, Value)>, ()> {
    use Value::{Double, Int, Long, Text, Truth};
    let to = |text: &str, like: &Value| match like {
        Int(_) => text.parse().map(Int).map_err(|_| ()),
        Long(_) => text.parse().map(Long).map_err(|_| ()),
        Double(_) => number(text).map(Double),
        Truth(_) => Ok(Truth(text.to_lowercase() == "true")),
        Text(_) => Ok(Text(text.into())),
    };
    Ok(Some(match (&left, &right) {
        (Truth(_), Text(_)) => return Err(()),
        (Text(text), other) => (to(text, other)?, right),
        (other, Text(text)) => {
            let converted = to(text, other)?;
            (left, converted)
        }
        (Int(l), Long(_)) => (Long(i64::from(*l)), right),
        (Long(_), Int(r)) => {
            let r = Long(i64::from(*r));
            (left, r)
        }
        (Int(l), Double(_)) => (Double(f64::from(*l)), right),
        (Double(_), Int(r)) => {
            let r = Double(f64::from(*r));
            (left, r)
        }
        (Long(l), Double(_)) => (Double(*l as f64), right),
        (Double(_), Long(r)) => {
            let r = Double(*r as f64);
            (left, r)
        }
        (Int(_), Int(_)) | (Long(_), Long(_)) | (Double(_), Double(_)) | (Truth(_), Truth(_)) => {
            (left, right)
        }
        _ => return Ok(None),
    }))
}

/// -1, 0, 1.
fn compared(left: Value, right: Value) -> Result<i32, ()> {
    use Value::{Double, Int, Long, Text, Truth};
    let sign = |ordering: std::cmp::Ordering| ordering as i32;
    Ok(match alike(left, right)? {
        None => -1,
        Some((Truth(l), Truth(r))) => sign(l.cmp(&r)),
        Some((Int(l), Int(r))) => sign(l.cmp(&r)),
        Some((Long(l), Long(r))) => sign(l.cmp(&r)),
        Some((Double(l), Double(r))) => sign(l.total_cmp(&r)),
        Some((Text(l), Text(r))) => sign(l.cmp(&r)),
        Some(other) => panic!("{other:?}"),
    })
}

fn ordered(left: Option<Value>, order: &str, right: Option<Value>) -> Outcome {
    let (Some(left), Some(right)) = (left, right) else { return Ok(None) };
    let sign = match (&left, &right) {
        (Value::Text(l), Value::Text(r)) => number(l)?.total_cmp(&number(r)?) as i32,
        _ => compared(left, right)?,
    };
    Ok(Some(Value::Truth(match order {
        "<" => sign < 0,
        "<=" => sign <= 0,
        ">" => sign > 0,
        ">=" => sign >= 0,
        other => panic!("{other}"),
    })))
}

fn not(value: Option<Value>) -> Option<Value> {
    match value {
        Some(Value::Truth(truth)) => Some(Value::Truth(!truth)),
        None => None,
        other => panic!("{other:?} is no truth value"),
    }
}

/// AND (`stop` false) or OR of two, the right one looked at only if needed.
fn both(left: Option<Value>, stop: bool, right: impl FnOnce() -> Outcome) -> Outcome {
    let decided = Some(Value::Truth(stop));
    if left == decided {
        return Ok(left);
    }
    let right = right()?;
    Ok(if right == decided || left.is_some() { right } else { None })
}

/// A property where a truth value is expected.
fn cast(expr: &Expr, message: &Message) -> Outcome {
    match expr {
        Expr::Name(_) => Ok(evaluate(expr, message)?.map(|_| Value::Truth(false))),
        other => evaluate(other, message),
    }
}

fn evaluate(expr: &Expr, message: &Message) -> Outcome {
    Ok(match expr {
        Expr::Name(name) => message.get(name).cloned().map(Value::Text),
        Expr::Text(text) => Some(Value::Text(text.clone())),
        Expr::Whole(number) => Some(whole(*number)),
        Expr::Half(number) => Some(Value::Double(*number as f64 + 0.5)),
        Expr::Truth(truth) => Some(Value::Truth(*truth)),
        Expr::Minus(of) => match evaluate(of, message)? {
            Some(Value::Int(n)) => Some(Value::Int(-n)),
            Some(Value::Long(n)) => Some(Value::Long(-n)),
            Some(Value::Double(n)) => Some(Value::Double(-n)),
            _ => None,
        },
        Expr::Not(of) => not(cast(of, message)?),
        Expr::And(parts) | Expr::Or(parts) => {
            let stop = matches!(expr, Expr::Or(_));
            let mut left = cast(&parts[0], message)?;
            for part in &parts[1..] {
                left = both(left, stop, || cast(part, message))?;
            }
            left
        }
        Expr::Equal(l, r, equal) => {
            let outcome = match (evaluate(l, message)?, evaluate(r, message)?) {
                (None, None) => Some(Value::Truth(true)),
                (None, Some(_)) => None,
                (Some(_), None) => Some(Value::Truth(false)),
                (Some(l), Some(r)) => Some(Value::Truth(compared(l, r)? == 0)),
            };
            if *equal { outcome } else { not(outcome) }
        }
        Expr::IsNull(of, is) => Some(Value::Truth(evaluate(of, message)?.is_none() == *is)),
        Expr::Order(l, order, r) => {
            let left = evaluate(l, message)?;
            let right = if left.is_none() { None } else { evaluate(r, message)? };
            ordered(left, order, right)?
        }
        Expr::Between(of, low, high, n) => {
            let of = evaluate(of, message)?;
            let (first, second) = if *n { ("<", ">") } else { (">=", "<=") };
            let left = ordered(of.clone(), first, Some(whole(*low)))?;
            both(left, *n, || ordered(of, second, Some(whole(*high))))?
        }
        Expr::Has(of, word, text, n) => Some(Value::Truth(match evaluate(of, message)? {
            Some(Value::Text(found)) if !text.is_empty() => {
                let has = match *word {
                    "Contains" => found.contains(text.as_str()),
                    "startsWith" => found.starts_with(text.as_str()),
                    _ => found.ends_with(text.as_str()),
                };
                has != *n
            }
            _ => false,
        })),
        Expr::In(name, list, n) => message.get(name).map(|text| Value::Truth(list.contains(text) != *n)),
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![Just("a".into()), Just("b".into()), Just("$c_1".into())]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ab']{0,3}", "-?[0-9]{1,2}", "[0-9]{1,2}\\.[05]", Just("tRue".into()), "[0-9]{10,12}"]
}

/// Numbers on both sides of what 32 bits hold; literals have no sign.
fn literal() -> impl Strategy<Value = i64> {
    prop_oneof![0i64..30, 2_147_483_640i64..2_147_483_660]
}

fn ordered_operand() -> impl Strategy<Value = Expr> {
    let plain = prop_oneof![
        name().prop_map(Expr::Name),
        literal().prop_map(Expr::Whole),
        (0i64..9).prop_map(Expr::Half)
    ];
    (plain, any::<bool>()).prop_map(|(expr, minus)| if minus { Expr::Minus(Box::new(expr)) } else { expr })
}

fn condition() -> impl Strategy<Value = Expr> {
    let equal_operand = prop_oneof![3 => ordered_operand(), 2 => text().prop_map(Expr::Text)];
    let orders = prop_oneof![Just("<"), Just("<="), Just(">"), Just(">=")];
    let words = prop_oneof![Just("Contains"), Just("startsWith"), Just("ENDSWITH")];
    let leaf =
        prop_oneof![
            any::<bool>().prop_map(Expr::Truth),
            name().prop_map(Expr::Name),
            (equal_operand.clone(), equal_operand.clone(), any::<bool>())
                .prop_map(|(l, r, equal)| Expr::Equal(Box::new(l), Box::new(r), equal)),
            (name(), any::<bool>(), any::<bool>()).prop_map(|(n, truth, equal)| Expr::Equal(
                Box::new(Expr::Name(n)),
                Box::new(Expr::Truth(truth)),
                equal
            )),
            (equal_operand.clone(), any::<bool>()).prop_map(|(of, is)| Expr::IsNull(Box::new(of), is)),
            (ordered_operand(), orders, ordered_operand()).prop_map(|(l, order, r)| Expr::Order(
                Box::new(l),
                order,
                Box::new(r)
            )),
            (ordered_operand(), literal(), literal(), any::<bool>()).prop_map(|(of, x, y, n)| Expr::Between(
                Box::new(of),
                x.min(y),
                x.max(y),
                n
            )),
            (equal_operand, words, text(), any::<bool>()).prop_map(|(of, word, text, n)| Expr::Has(
                Box::new(of),
                word,
                text,
                n
            )),
            (name(), proptest::collection::vec(text(), 1..8), any::<bool>())
                .prop_map(|(name, list, n)| Expr::In(name, list, n)),
        ];
    leaf.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|of| Expr::Not(Box::new(of))),
            proptest::collection::vec(inner.clone(), 2..5).prop_map(Expr::And),
            proptest::collection::vec(inner.clone(), 2..5).prop_map(Expr::Or),
            (inner.clone(), any::<bool>()).prop_map(|(of, is)| Expr::IsNull(Box::new(of), is)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn both_filters_choose_the_same(
        expr in condition(),
        message in proptest::collection::btree_map(name(), text().prop_filter("not empty", |t| !t.is_empty()), 0..4),
    ) {
        let shown = show(&expr);
        // A bare property is a truth value only inside another part.
        let expected = cast(&expr, &message) == Ok(Some(Value::Truth(true)));
        let mut stored = String::new();
        for (name, value) in &message {
            properties::append(&mut stored, name, value);
        }
        let program = match Program::compile(&shown, &BOUNDS) {
            Ok(program) => program,
            Err(error) => return Err(TestCaseError::fail(format!("{shown}: {error}"))),
        };
        prop_assert_eq!(program.ignored_from(), None, "{}", &shown);
        prop_assert_eq!(program.chooses(&stored), expected, "{} of {:?}", &shown, &message);
    }

    #[test]
    fn any_text_is_an_expression_or_an_error_with_a_place(text in "[a'() =<>0-9.eL,/*\\-+n]{0,30}|[\\PC]{0,20}") {
        if let Err(error) = Program::compile(&text, &BOUNDS) {
            prop_assert!(error.character <= text.chars().count() + 1, "{}", error);
        }
    }
}
