//! SQL-92 expressions over message properties (expression type `SQL92`).
//!
//! Owns: the language. `lexer` cuts the text, `parser` checks it and makes a tree, `value` has the types and how two of them
//! compare, `eval` judges a message. Rules: RocketMQ 5.5.0 SelectorParser.jj and its expression classes, oddities included,
//! since an expression that runs there has to choose the same messages here:
//! - NOT binds tighter than a comparison; `TRUE = a` fails where `a = TRUE` does not; `0.0` and numbers over 64 bits are errors;
//! - a property is text. It becomes what it is compared with: `a > 5` takes `a` only if it is a 32-bit whole number;
//! - what cannot be converted is an error, and a message that causes one is not chosen, whatever the rest says;
//! - what follows a complete expression is not looked at (see [`Program::ignored_from`]).
//!
//! One thing is left out: digits other than ASCII's, and hexadecimal floating-point text, are not numbers in a property.
//! Invariants: compiling and judging take stack in proportion to `Bounds::nesting` at most; judging does not allocate unless
//! the expression names more than `INLINE_NAMES` properties; neither looks at a message's body.
//! On failure: compiling gives a [`SqlError`] with the place; judging gives "not chosen".

mod eval;
mod lexer;
mod parser;
mod value;

use thiserror::Error;

use parser::Node;

/// Names that are looked up without allocating.
const INLINE_NAMES: usize = 16;

/// What an expression may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub bytes: usize,
    /// Parentheses, signs and operators one within the other. AND and OR of many parts count once.
    pub nesting: usize,
    /// Constants, properties and operators; the texts of an IN list are not counted.
    pub nodes: usize,
}

/// Why a text is no expression, and where.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("at character {character}: {problem}")]
pub struct SqlError {
    /// Counted from 1, in characters.
    pub character: usize,
    pub problem: Problem,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    #[error("an expression of {bytes} bytes; at most {max} are allowed")]
    TooLong { bytes: usize, max: usize },
    #[error("nested more than {max} deep")]
    TooDeep { max: usize },
    #[error("more than {max} constants, properties and operators")]
    TooMany { max: usize },
    #[error("{0:?} does not begin anything that SQL92 filters know")]
    Character(char),
    #[error("this text has no closing quote")]
    OpenText,
    #[error("this comment has no end")]
    OpenComment,
    #[error("expected {expected}, found {found}")]
    Unexpected { expected: &'static str, found: String },
    #[error("{0} is no whole number of 64 bits")]
    WholeNumber(String),
    #[error("{0} is no number above 0 that a double can hold (for zero write 0)")]
    Double(String),
    #[error("a truth value is expected here; {0} is none")]
    NoTruthValue(&'static str),
    #[error("<, <=, >, >= and BETWEEN compare numbers and properties, not {0}")]
    NotOrdered(&'static str),
    #[error("NULL is compared with IS NULL or IS NOT NULL")]
    EqualsNull,
    #[error("TRUE, FALSE and NULL on the left are not compared with another constant that is none of them")]
    ConstantOfAnotherKind,
    #[error("BETWEEN has its bounds in the wrong order")]
    EmptyRange,
    #[error("IN is asked of a property, not of {0}")]
    InOfNoProperty(&'static str),
}

/// A compiled expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    root: Node,
    /// Properties that the expression names; a node has the number.
    names: Box<[Box<str>]>,
    nodes: usize,
    ignored_from: Option<usize>,
}

impl Program {
    pub fn compile(text: &str, bounds: &Bounds) -> Result<Program, SqlError> {
        parser::parse(text, bounds).map_err(|error| {
            let before = text.get(..error.at).unwrap_or(text);
            SqlError { character: before.chars().count() + 1, problem: error.problem }
        })
    }

    /// Whether the expression is TRUE of a message with these properties.
    pub fn chooses(&self, properties: &str) -> bool {
        if self.names.len() <= INLINE_NAMES {
            self.judge(properties, &mut [None; INLINE_NAMES][..self.names.len()])
        } else {
            self.judge(properties, &mut vec![None; self.names.len()])
        }
    }

    fn judge<'p>(&self, properties: &'p str, values: &mut [Option<&'p str>]) -> bool {
        for (name, value) in crate::properties::iter(properties) {
            // The last entry of a name counts.
            if let Some(at) = self.names.iter().position(|known| **known == *name) {
                values[at] = Some(value);
            }
        }
        eval::is_true(&self.root, values)
    }

    /// What judging a message costs at most, in looks at a part.
    pub fn cost(&self) -> usize {
        self.nodes + self.names.len()
    }

    /// Byte from which on the text was not looked at, because the expression was complete before it.
    pub fn ignored_from(&self) -> Option<usize> {
        self.ignored_from
    }
}

#[cfg(test)]
mod tests;
