//! What consumers want of a topic, compiled.
//!
//! Owns: [`Wanted`], which a subscription is compiled to once, when a heartbeat brings it (on the control core, for the
//! replicas of all cores) or when a pull carries it (kept for the next such pull).
//! Invariants: judging a message does not allocate in the common case and never looks at its body; `Carried` is bounded.
//! On failure: an expression that does not compile is kept as `Wanted::Bad` with the reason, which every pull is answered with.

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashMap;
use ringmq_io::limits::{
    SQL_CARRIED_MAX, SQL_EXPRESSION_BYTES_MAX, SQL_LOOKS_PER_READ_MAX, SQL_NESTING_MAX, SQL_NODES_MAX,
};
use ringmq_wire::message::RecordView;
use ringmq_wire::sql::{Bounds, Program};
use ringmq_wire::subscription::{SQL92, SubscriptionData};

use crate::tables::Subscription;

/// Index entries that one pull looks at when filtering: RocketMQ's 16,000 bytes of 20-byte entries.
const SCAN_ENTRIES_MAX: u32 = 800;

const BOUNDS: Bounds =
    Bounds { bytes: SQL_EXPRESSION_BYTES_MAX, nesting: SQL_NESTING_MAX, nodes: SQL_NODES_MAX };

/// Which messages of a topic.
#[derive(Clone, Debug, PartialEq)]
pub enum Wanted {
    All,
    /// Those with one of these tags codes.
    Tags(Box<[i64]>),
    Sql(Box<Program>),
    /// None: why the expression means nothing here.
    Bad(Box<str>),
}

impl Wanted {
    /// The tags codes are the client's own: the Go client hashes tags outside ASCII in another way than Java.
    pub fn of(data: &SubscriptionData) -> Self {
        if data.class_filter_mode {
            return Self::All;
        }
        if !data.is_tags() {
            return match compile(&data.expression_type, &data.sub_string) {
                Ok(program) => Self::Sql(Box::new(program)),
                Err(why) => Self::Bad(why.into()),
            };
        }
        let codes = if data.is_all() { None } else { Some(&data.code_set) };
        match codes.filter(|codes| !codes.is_empty()) {
            Some(codes) => Self::Tags(codes.iter().map(|code| i64::from(*code)).collect()),
            None => Self::All,
        }
    }

    pub fn by_expression(&self) -> bool {
        matches!(self, Self::Sql(_) | Self::Bad(_))
    }

    /// Index entries that one read may look at, so that a long expression does not hold up the core.
    pub fn scan_entries(&self) -> u32 {
        match self {
            Self::Sql(program) => {
                let entries = SQL_LOOKS_PER_READ_MAX / program.cost().max(1);
                u32::try_from(entries).unwrap_or(u32::MAX).clamp(1, SCAN_ENTRIES_MAX)
            }
            _ => SCAN_ENTRIES_MAX,
        }
    }
}

/// Compiles an expression that is not of tags. The error is for the client.
pub fn compile(kind: &str, expression: &str) -> Result<Program, String> {
    if kind != SQL92 {
        let kind: String = kind.chars().take(64).collect();
        return Err(format!("expression type {kind} is not known; TAG and {SQL92} are"));
    }
    let program = Program::compile(expression, &BOUNDS).map_err(|error| format!("{SQL92} {error}"))?;
    if let Some(from) = program.ignored_from() {
        tracing::warn!(expression, "what begins at byte {from} is not looked at, as in RocketMQ");
    }
    Ok(program)
}

/// Whether the expression chooses this stored record.
pub fn chooses(program: &Program, record: &[u8]) -> bool {
    RecordView::parse(record).is_ok_and(|record| program.chooses(record.properties))
}

/// Compiled expressions that came with pulls, by their text.
#[derive(Default)]
pub struct Carried {
    known: RefCell<HashMap<Box<str>, Rc<Subscription>>>,
}

impl Carried {
    pub fn get(&self, topic: &str, kind: &str, expression: &str) -> Result<Rc<Subscription>, String> {
        let mut known = self.known.borrow_mut();
        if let Some(known) = known.get(expression)
            && *known.topic == *topic
            && kind == SQL92
        {
            return Ok(known.clone());
        }
        let program = compile(kind, expression)?;
        if known.len() >= SQL_CARRIED_MAX {
            known.clear();
        }
        let wanted = Wanted::Sql(Box::new(program));
        let subscription = Rc::new(Subscription { topic: topic.into(), version: 0, wanted });
        known.insert(expression.into(), subscription.clone());
        Ok(subscription)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_are_compiled() {
        let tags = |expression: &str| Wanted::of(&SubscriptionData::of_tags("t", expression).unwrap());
        assert_eq!(tags("*"), Wanted::All);
        assert_eq!(tags(" || "), Wanted::All);
        assert_eq!(tags("TagA"), Wanted::Tags([2_598_919].into()));
        let sql =
            |expression: &str, kind| Wanted::of(&SubscriptionData::of("t", expression, Some(kind)).unwrap());
        assert!(matches!(sql("a > 1", SQL92), Wanted::Sql(_)));
        assert!(matches!(sql("*", SQL92), Wanted::Bad(_)));
        let Wanted::Bad(why) = sql("a > ", SQL92) else { panic!() };
        assert_eq!(&*why, "SQL92 at character 5: expected a property, a constant or (, found the end");
        assert!(matches!(sql("a > 1", "XPATH"), Wanted::Bad(_)));
        let classes = SubscriptionData { class_filter_mode: true, ..SubscriptionData::default() };
        assert_eq!(Wanted::of(&classes), Wanted::All);
    }

    #[test]
    fn a_carried_expression_is_compiled_once() {
        let carried = Carried::default();
        let first = carried.get("t", SQL92, "a > 1").unwrap();
        assert!(Rc::ptr_eq(&first, &carried.get("t", SQL92, "a > 1").unwrap()));
        assert!(!Rc::ptr_eq(&first, &carried.get("u", SQL92, "a > 1").unwrap()));
        assert!(carried.get("t", "XPATH", "a > 1").is_err());
        for number in 0..2 * SQL_CARRIED_MAX {
            carried.get("t", SQL92, &format!("a > {number}")).unwrap();
            assert!(carried.known.borrow().len() <= SQL_CARRIED_MAX);
        }
    }

    #[test]
    fn long_expressions_look_at_fewer_messages_at_a_time() {
        let long = vec!["a > 5"; SQL_NODES_MAX / 4].join(" or ");
        let long = Wanted::Sql(Box::new(compile(SQL92, &long).unwrap()));
        let short = Wanted::Sql(Box::new(compile(SQL92, "a > 5").unwrap()));
        assert!(long.scan_entries() < short.scan_entries());
        assert_eq!(short.scan_entries(), SCAN_ENTRIES_MAX);
    }
}
