//! Headers that are like an earlier one of the same connection are compared with it instead of being read.
//!
//! A client writes header after header with the same names in the same order, and most values are the same too: of a send's
//! four hundred bytes some sixty change. So each connection remembers the shape of a few headers: the bytes that stay, and
//! the holes between them. A header that has the same bytes around its holes needs only its holes read.
//! Owns: learning a shape, and reading by it. Invariants: what is read by a shape is exactly what the scanner would read
//! (a property test and a fuzz target say so); only headers in the plain form that official clients write are learnt: no
//! space, the known top-level names once each, ext values that are strings. Memory a connection is bounded.
//! On failure: a header that fits no shape is read by the scanner, which is also who finds what is wrong with it.

use std::ops::Range;

use super::Command;
use super::ext_fields::{Field, Span};
use super::json_header::Scanner;
use crate::version::Language;

/// Shapes a connection remembers: a producer sends messages and beats, a consumer pulls, commits and beats.
const SHAPES_MAX: usize = 4;
/// Longest header that is learnt: a send's has 400 to 600 bytes.
const TEXT_MAX: usize = 1024;
const FIELDS_MAX: usize = 32;
/// Headers of a connection before the first is learnt: one that sends a few needs no memory.
const LEARN_AFTER: u8 = 4;
/// A connection whose headers never fit stops learning after so many; each that fits earns one more.
const PATIENCE: u8 = 32;

/// The shapes of one connection, the one that fitted last first.
#[derive(Default)]
pub(super) struct Shapes {
    shapes: Vec<Shape>,
    seen: u8,
    learnt: u8,
}

struct Shape {
    text: Box<[u8]>,
    code: i32,
    flag: i32,
    version: i32,
    language: Language,
    /// Fields whose value stays, in order.
    fields: Box<[Field]>,
    steps: Box<[Step]>,
    /// Every value, in order: what it takes to learn which of them change.
    values: Box<[Value]>,
}

/// Bytes that stay, the fields in them, and what follows.
struct Step {
    run: Range<usize>,
    fields: Range<usize>,
    hole: Hole,
}

#[derive(Clone, Copy)]
enum Hole {
    Opaque,
    /// The value of this key; the run ends before its opening quote.
    Value(Span),
    End,
}

/// A value of a learnt header: `raw` is between its quotes.
struct Value {
    key: Range<usize>,
    raw: Range<usize>,
    changes: bool,
}

impl Shapes {
    /// Reads a header by a shape that it fits. If there is none the scanner is as it was, but for text and fields.
    pub(super) fn read(&mut self, scanner: &mut Scanner<'_, '_>, command: &mut Command<'_>) -> bool {
        for i in 0..self.shapes.len() {
            if self.shapes[i].read(scanner, command) {
                self.learnt = self.learnt.saturating_sub(1);
                if i > 0 {
                    self.shapes[..=i].rotate_right(1);
                }
                return true;
            }
            scanner.start_over();
        }
        false
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.shapes.len()
    }

    /// A header that fitted no shape was read.
    pub(super) fn learn(&mut self, header: &[u8]) {
        if self.seen < LEARN_AFTER {
            self.seen += 1;
            return;
        }
        if self.learnt >= PATIENCE || header.len() > TEXT_MAX {
            return;
        }
        self.learnt += 1;
        let Some(mut new) = Plain::parse(header) else { return };
        let alike = self.shapes.iter().position(|known| known.has_names_of(header, &new));
        let place = match alike {
            Some(i) => {
                self.shapes[i].mark_changes(header, &mut new);
                i
            }
            None if self.shapes.len() < SHAPES_MAX => self.shapes.len(),
            None => SHAPES_MAX - 1,
        };
        let shape = Shape::of(header, new);
        match self.shapes.get_mut(place) {
            Some(slot) => *slot = shape,
            None => self.shapes.push(shape),
        }
    }
}

impl Shape {
    #[inline]
    fn read(&self, scanner: &mut Scanner<'_, '_>, command: &mut Command<'_>) -> bool {
        let mut opaque = 0;
        for step in &self.steps {
            let run = &self.text[step.run.clone()];
            let from = scanner.at();
            if !scanner.pass(run) {
                return false;
            }
            let shift = from as i64 - step.run.start as i64;
            scanner.fields().extend(self.fields[step.fields.clone()].iter().map(|field| field.moved(shift)));
            match step.hole {
                Hole::Opaque => match scanner.plain_int() {
                    Some(int) => opaque = int,
                    None => return false,
                },
                Hole::Value(key) => match scanner.value_here() {
                    Some(value) => scanner.fields().push(Field { key: key.moved(shift), value }),
                    None => return false,
                },
                Hole::End => {
                    if !scanner.is_at_end() {
                        return false;
                    }
                }
            }
        }
        command.code = self.code;
        command.flag = self.flag;
        command.opaque = opaque;
        command.version = self.version;
        command.language = self.language;
        true
    }

    fn has_names_of(&self, header: &[u8], new: &Plain) -> bool {
        (self.code, self.flag, self.version, self.language) == (new.code, new.flag, new.version, new.language)
            && self.values.len() == new.values.len()
            && self
                .values
                .iter()
                .zip(&new.values)
                .all(|(a, b)| self.text[a.key.clone()] == header[b.key.clone()])
    }

    /// Values that changed before, or differ now, are holes of the new shape.
    fn mark_changes(&self, header: &[u8], new: &mut Plain) {
        for (known, value) in self.values.iter().zip(&mut new.values) {
            value.changes = known.changes || self.text[known.raw.clone()] != header[value.raw.clone()];
        }
    }

    fn of(header: &[u8], plain: Plain) -> Self {
        // Holes in the order of the text; the opaque may stand before or behind the ext fields.
        let mut holes: Vec<(Range<usize>, Hole)> = vec![(plain.opaque.clone(), Hole::Opaque)];
        let mut fields = Vec::new();
        for value in &plain.values {
            let key = Span::in_header(value.key.start, value.key.end);
            if value.changes {
                holes.push((value.raw.start - 1..value.raw.end + 1, Hole::Value(key)));
            } else {
                fields.push(Field { key, value: Span::in_header(value.raw.start, value.raw.end) });
            }
        }
        holes.push((header.len()..header.len(), Hole::End));
        holes.sort_by_key(|(place, _)| place.start);
        let (mut at, mut field) = (0, 0);
        let steps = holes.into_iter().map(|(place, hole)| {
            let first = field;
            while fields.get(field).is_some_and(|f: &Field| f.value.start() < place.start) {
                field += 1;
            }
            let step = Step { run: at..place.start, fields: first..field, hole };
            at = place.end;
            step
        });
        Self {
            steps: steps.collect(),
            text: header.into(),
            code: plain.code,
            flag: plain.flag,
            version: plain.version,
            language: plain.language,
            fields: fields.into(),
            values: plain.values.into(),
        }
    }
}

/// A header in the plain form, taken apart.
struct Plain {
    code: i32,
    flag: i32,
    version: i32,
    language: Language,
    opaque: Range<usize>,
    values: Vec<Value>,
}

impl Plain {
    /// `None`: the header is good for the scanner, but not plain.
    fn parse(header: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes: header, at: 0 };
        let (mut code, mut flag, mut version, mut language, mut opaque) = (None, None, None, None, None);
        let (mut values, mut other) = (None, None);
        reader.byte(b'{')?;
        loop {
            let key = reader.string()?;
            reader.byte(b':')?;
            match &header[key] {
                b"code" => once(&mut code, reader.int()?)?,
                b"flag" => once(&mut flag, reader.int()?)?,
                b"version" => once(&mut version, reader.int()?)?,
                b"opaque" => once(&mut opaque, reader.int()?)?,
                b"language" => once(&mut language, reader.string()?)?,
                b"serializeTypeCurrentRPC" => once(&mut other, reader.string()?)?,
                b"extFields" => once(&mut values, reader.values()?)?,
                _ => return None,
            }
            match reader.next()? {
                b',' => {}
                b'}' if reader.at == header.len() => break,
                _ => return None,
            }
        }
        let int = |place: Option<Range<usize>>| std::str::from_utf8(&header[place?]).ok()?.parse().ok();
        let language = match &header[language?] {
            b"JAVA" => Language::Java,
            // A number in quotes has a meaning of its own.
            name if name.first()?.is_ascii_alphabetic() => {
                Language::from_name(std::str::from_utf8(name).ok()?)
            }
            _ => return None,
        };
        Some(Self {
            code: int(code)?,
            flag: int(flag)?,
            version: int(version)?,
            language,
            opaque: opaque?,
            values: values.unwrap_or_default(),
        })
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Option<()> {
    slot.replace(value).is_none().then_some(())
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn byte(&mut self, expected: u8) -> Option<()> {
        (self.next()? == expected).then_some(())
    }

    /// What is between the quotes, without an escape.
    fn string(&mut self) -> Option<Range<usize>> {
        let raw = self.raw_string()?;
        (!self.bytes[raw.clone()].contains(&b'\\')).then_some(raw)
    }

    /// What is between the quotes, escapes and all.
    fn raw_string(&mut self) -> Option<Range<usize>> {
        self.byte(b'"')?;
        let start = self.at;
        loop {
            match self.next()? {
                b'"' => return Some(start..self.at - 1),
                b'\\' => {
                    self.next()?;
                }
                _ => {}
            }
        }
    }

    /// Up to nine digits.
    fn int(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        (1..=9).contains(&(self.at - start)).then_some(start..self.at)
    }

    fn values(&mut self) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        self.byte(b'{')?;
        if self.bytes.get(self.at) == Some(&b'}') {
            self.at += 1;
            return Some(values);
        }
        loop {
            let key = self.string()?;
            self.byte(b':')?;
            let raw = self.raw_string()?;
            // Unescaped text is made anew for each header.
            let changes = self.bytes[raw.clone()].contains(&b'\\');
            values.push(Value { key, raw, changes });
            match self.next()? {
                b',' if values.len() < FIELDS_MAX => {}
                b'}' => return Some(values),
                _ => return None,
            }
        }
    }
}
