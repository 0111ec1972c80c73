//! Checks an expression and makes its tree.
//!
//! Owns: the grammar, by recursive descent with one token of lookahead. Invariants: a tree is never deeper than
//! `Bounds::nesting`, and neither is the descent; a node that AND, OR and NOT take gives a truth value or NULL; what
//! RocketMQ refuses when an expression is compiled is refused here, so that judging meets no such node.
//! On failure: a [`Failed`] at the token that cannot be.

use super::lexer::{Failed, Kind, Lexer, Token};
use super::value::{Value, compare};
use super::{Bounds, Problem, Program};

#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    Null,
    Truth(bool),
    Int(i32),
    Long(i64),
    Double(f64),
    Text(Box<str>),
    /// Number of its name.
    Property(u16),
    Negate(Box<Node>),
    Not(Box<Node>),
    /// A property where a truth value is expected.
    IsTruth(u16),
    All(Vec<Node>),
    Any(Vec<Node>),
    Equal(Box<[Node; 2]>),
    IsNull(Box<Node>),
    Ordered(Order, Box<[Node; 2]>),
    /// Low and high, both included.
    Between {
        of: Box<Node>,
        bounds: Box<[Node; 2]>,
        not: bool,
    },
    Has {
        of: Box<Node>,
        part: Part,
        text: Box<str>,
        not: bool,
    },
    In {
        of: u16,
        /// Sorted.
        list: Box<[Box<str>]>,
        not: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Anywhere,
    Start,
    End,
}

impl Node {
    fn constant(&self) -> Option<Value<'_>> {
        Some(match self {
            Node::Null => Value::Null,
            Node::Truth(truth) => Value::Truth(*truth),
            Node::Int(number) => Value::Int(*number),
            Node::Long(number) => Value::Long(*number),
            Node::Double(number) => Value::Double(*number),
            Node::Text(text) => Value::Text(text),
            _ => return None,
        })
    }

    fn is_truth_value(&self) -> bool {
        match self {
            Node::Null | Node::Truth(_) | Node::Not(_) | Node::IsTruth(_) => true,
            Node::All(_) | Node::Any(_) | Node::Equal(_) | Node::IsNull(_) => true,
            Node::Ordered(..) | Node::Between { .. } | Node::Has { .. } | Node::In { .. } => true,
            Node::Int(_) | Node::Long(_) | Node::Double(_) | Node::Text(_) => false,
            Node::Property(_) | Node::Negate(_) => false,
        }
    }

    /// For errors.
    fn kind(&self) -> &'static str {
        match self {
            Node::Null => "NULL",
            Node::Truth(_) => "a truth value",
            Node::Int(_) | Node::Long(_) | Node::Double(_) => "a number",
            Node::Text(_) => "a text",
            Node::Property(_) => "a property",
            Node::Negate(_) => "a value with a sign",
            _ => "a condition",
        }
    }
}

/// A subexpression with what its parent has to know.
struct Sub {
    node: Node,
    depth: usize,
    at: usize,
}

type Parsed = Result<Sub, Failed>;

pub fn parse(text: &str, bounds: &Bounds) -> Result<Program, Failed> {
    if text.len() > bounds.bytes {
        let problem = Problem::TooLong { bytes: text.len(), max: bounds.bytes };
        return Err(Failed { at: 0, problem });
    }
    let mut parser =
        Parser { lexer: Lexer::new(text), peeked: None, names: Vec::new(), bounds, descent: 0, nodes: 0 };
    let whole = parser.or()?;
    let root = parser.truth_value(whole)?.node;
    let next = parser.peek()?;
    let ignored_from = (next.kind != Kind::End).then_some(next.at);
    Ok(Program { root, names: parser.names.into(), nodes: parser.nodes, ignored_from })
}

struct Parser<'t, 'b> {
    lexer: Lexer<'t>,
    peeked: Option<Token<'t>>,
    names: Vec<Box<str>>,
    bounds: &'b Bounds,
    /// Of the recursion.
    descent: usize,
    nodes: usize,
}

fn fail<T>(at: usize, problem: Problem) -> Result<T, Failed> {
    Err(Failed { at, problem })
}

impl<'t> Parser<'t, '_> {
    fn peek(&mut self) -> Result<Token<'t>, Failed> {
        match self.peeked {
            Some(token) => Ok(token),
            None => {
                let token = self.lexer.next()?;
                self.peeked = Some(token);
                Ok(token)
            }
        }
    }

    fn take(&mut self) -> Result<Token<'t>, Failed> {
        let token = self.peek()?;
        self.peeked = None;
        Ok(token)
    }

    fn take_if(&mut self, kind: Kind) -> Result<bool, Failed> {
        let found = self.peek()?.kind == kind;
        if found {
            self.peeked = None;
        }
        Ok(found)
    }

    fn expect(&mut self, kind: Kind, expected: &'static str) -> Result<Token<'t>, Failed> {
        let token = self.take()?;
        if token.kind == kind { Ok(token) } else { unexpected(token, expected) }
    }

    fn sub(&mut self, node: Node, depth: usize, at: usize) -> Parsed {
        if depth > self.bounds.nesting {
            return fail(at, Problem::TooDeep { max: self.bounds.nesting });
        }
        self.nodes += 1;
        if self.nodes > self.bounds.nodes {
            return fail(at, Problem::TooMany { max: self.bounds.nodes });
        }
        Ok(Sub { node, depth, at })
    }

    fn truth_value(&mut self, sub: Sub) -> Parsed {
        match sub.node {
            Node::Property(name) => self.sub(Node::IsTruth(name), sub.depth, sub.at),
            node if node.is_truth_value() => Ok(Sub { node, ..sub }),
            node => fail(sub.at, Problem::NoTruthValue(node.kind())),
        }
    }

    fn or(&mut self) -> Parsed {
        self.chain(Kind::Or, Self::and, Node::Any)
    }

    fn and(&mut self) -> Parsed {
        self.chain(Kind::And, Self::equality, Node::All)
    }

    fn chain(
        &mut self,
        operator: Kind,
        part: fn(&mut Self) -> Parsed,
        node: fn(Vec<Node>) -> Node,
    ) -> Parsed {
        let first = part(self)?;
        if self.peek()?.kind != operator {
            return Ok(first);
        }
        let first = self.truth_value(first)?;
        let (at, mut depth) = (first.at, first.depth);
        let mut parts = vec![first.node];
        while self.take_if(operator)? {
            let next = part(self)?;
            let next = self.truth_value(next)?;
            depth = depth.max(next.depth);
            parts.push(next.node);
        }
        self.sub(node(parts), depth + 1, at)
    }

    fn equality(&mut self) -> Parsed {
        let mut left = self.comparison()?;
        loop {
            let operator = self.peek()?;
            left = match operator.kind {
                Kind::Equal | Kind::NotEqual => {
                    self.take()?;
                    let right = self.comparison()?;
                    let equal = self.equal(left, right)?;
                    if operator.kind == Kind::Equal { equal } else { self.not(equal)? }
                }
                Kind::Is => {
                    self.take()?;
                    let not = self.take_if(Kind::Not)?;
                    self.expect(Kind::Null, if not { "NULL" } else { "NULL or NOT NULL" })?;
                    let (at, depth) = (left.at, left.depth + 1);
                    let is_null = self.sub(Node::IsNull(Box::new(left.node)), depth, at)?;
                    if not { self.not(is_null)? } else { is_null }
                }
                _ => return Ok(left),
            };
        }
    }

    fn not(&mut self, of: Sub) -> Parsed {
        let (at, depth) = (of.at, of.depth + 1);
        self.sub(Node::Not(Box::new(of.node)), depth, at)
    }

    fn equal(&mut self, left: Sub, right: Sub) -> Parsed {
        for side in [&left, &right] {
            if side.node == Node::Null {
                return fail(side.at, Problem::EqualsNull);
            }
        }
        if let (Node::Truth(_), Some(constant)) = (&left.node, right.node.constant())
            && !matches!(constant, Value::Truth(_))
        {
            return fail(right.at, Problem::ConstantOfAnotherKind);
        }
        let (at, depth) = (left.at, left.depth.max(right.depth) + 1);
        self.sub(Node::Equal(Box::new([left.node, right.node])), depth, at)
    }

    fn comparison(&mut self) -> Parsed {
        let mut left = self.unary()?;
        loop {
            let operator = self.peek()?;
            left = match operator.kind {
                Kind::Less => self.ordered(left, Order::Less)?,
                Kind::LessEqual => self.ordered(left, Order::LessEqual)?,
                Kind::Greater => self.ordered(left, Order::Greater)?,
                Kind::GreaterEqual => self.ordered(left, Order::GreaterEqual)?,
                Kind::Contains | Kind::StartsWith | Kind::EndsWith | Kind::Between | Kind::In => {
                    self.word(left, false)?
                }
                Kind::Not => {
                    self.take()?;
                    self.word(left, true)?
                }
                _ => return Ok(left),
            };
        }
    }

    fn ordered(&mut self, left: Sub, order: Order) -> Parsed {
        self.take()?;
        let right = self.unary()?;
        check_ordered(&left)?;
        check_ordered(&right)?;
        let (at, depth) = (left.at, left.depth.max(right.depth) + 1);
        self.sub(Node::Ordered(order, Box::new([left.node, right.node])), depth, at)
    }

    /// CONTAINS, STARTSWITH, ENDSWITH, BETWEEN, IN, behind a NOT perhaps.
    fn word(&mut self, left: Sub, not: bool) -> Parsed {
        let operator = self.take()?;
        let part = match operator.kind {
            Kind::Contains => Part::Anywhere,
            Kind::StartsWith => Part::Start,
            Kind::EndsWith => Part::End,
            Kind::Between => return self.between(left, not),
            Kind::In => return self.one_of(left, not),
            _ => return unexpected(operator, "CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN after NOT"),
        };
        let text = self.text("a text in quotes")?;
        let (at, depth) = (left.at, left.depth + 1);
        self.sub(Node::Has { of: Box::new(left.node), part, text, not }, depth, at)
    }

    fn between(&mut self, of: Sub, not: bool) -> Parsed {
        let low = self.unary()?;
        self.expect(Kind::And, "AND")?;
        let high = self.unary()?;
        if !not && let (Some(low_value), Some(high_value)) = (low.node.constant(), high.node.constant()) {
            check_ordered(&low)?;
            check_ordered(&high)?;
            if compare(high_value, low_value).is_ok_and(std::cmp::Ordering::is_lt) {
                return fail(low.at, Problem::EmptyRange);
            }
        }
        for side in [&of, &low, &high] {
            check_ordered(side)?;
        }
        let (at, depth) = (of.at, of.depth.max(low.depth).max(high.depth) + 1);
        let bounds = Box::new([low.node, high.node]);
        self.sub(Node::Between { of: Box::new(of.node), bounds, not }, depth, at)
    }

    fn one_of(&mut self, of: Sub, not: bool) -> Parsed {
        self.expect(Kind::Open, "( and a list of texts")?;
        let mut list = vec![self.text("a text in quotes")?];
        while self.take_if(Kind::Comma)? {
            list.push(self.text("a text in quotes")?);
        }
        self.expect(Kind::Close, ", or )")?;
        let Node::Property(name) = of.node else {
            return fail(of.at, Problem::InOfNoProperty(of.node.kind()));
        };
        list.sort_unstable();
        self.sub(Node::In { of: name, list: list.into(), not }, of.depth + 1, of.at)
    }

    fn unary(&mut self) -> Parsed {
        let first = self.peek()?;
        self.descent += 1;
        if self.descent > self.bounds.nesting {
            return fail(first.at, Problem::TooDeep { max: self.bounds.nesting });
        }
        let parsed = match first.kind {
            Kind::Plus => {
                self.take()?;
                self.unary()?
            }
            Kind::Minus => {
                self.take()?;
                let of = self.unary()?;
                self.sub(Node::Negate(Box::new(of.node)), of.depth + 1, first.at)?
            }
            Kind::Not => {
                self.take()?;
                let of = self.unary()?;
                let of = self.truth_value(of)?;
                self.not(Sub { at: first.at, ..of })?
            }
            Kind::Open => {
                self.take()?;
                let inner = self.or()?;
                self.expect(Kind::Close, "an operator or )")?;
                inner
            }
            _ => self.primary()?,
        };
        self.descent -= 1;
        Ok(parsed)
    }

    fn primary(&mut self) -> Parsed {
        let token = self.peek()?;
        let node = match token.kind {
            Kind::Text => Node::Text(self.text("")?),
            Kind::Name => {
                self.take()?;
                Node::Property(self.name(token.text))
            }
            _ => {
                self.take()?;
                constant(token)?
            }
        };
        self.sub(node, 1, token.at)
    }

    fn name(&mut self, name: &str) -> u16 {
        let known = self.names.iter().position(|known| **known == *name).unwrap_or_else(|| {
            self.names.push(name.into());
            self.names.len() - 1
        });
        u16::try_from(known).expect("nodes are bounded, and so are names")
    }

    fn text(&mut self, expected: &'static str) -> Result<Box<str>, Failed> {
        let token = self.expect(Kind::Text, expected)?;
        let inner = &token.text[1..token.text.len() - 1];
        Ok(inner.replace("''", "'").into())
    }
}

/// What < and its like take: numbers, properties, and values with a sign.
fn check_ordered(sub: &Sub) -> Result<(), Failed> {
    let number = matches!(sub.node, Node::Int(_) | Node::Long(_) | Node::Double(_));
    if !number && (sub.node.constant().is_some() || sub.node.is_truth_value()) {
        return fail(sub.at, Problem::NotOrdered(sub.node.kind()));
    }
    Ok(())
}

fn constant(token: Token<'_>) -> Result<Node, Failed> {
    Ok(match token.kind {
        Kind::True => Node::Truth(true),
        Kind::False => Node::Truth(false),
        Kind::Null => Node::Null,
        Kind::Whole => {
            let Ok(number) = token.text.trim_end_matches(['l', 'L']).parse::<i64>() else {
                return fail(token.at, Problem::WholeNumber(shown(token.text)));
            };
            i32::try_from(number).map_or(Node::Long(number), Node::Int)
        }
        Kind::Double => match token.text.parse::<f64>() {
            Ok(number) if number > 0.0 && number.is_finite() => Node::Double(number),
            _ => return fail(token.at, Problem::Double(shown(token.text))),
        },
        _ => return unexpected(token, "a property, a constant or ("),
    })
}

fn unexpected<T>(token: Token<'_>, expected: &'static str) -> Result<T, Failed> {
    let found = if token.kind == Kind::End { "the end".into() } else { shown(token.text) };
    fail(token.at, Problem::Unexpected { expected, found })
}

/// For errors: a text may be long.
fn shown(text: &str) -> String {
    text.chars().take(32).collect()
}
