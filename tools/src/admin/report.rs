//! What a verb found out: as tables for people, or as one JSON object for scripts.
//!
//! Invariants: both show the same; a column's heading is its JSON key with blanks for `_`; a time is RFC 3339 text, so that
//! it sorts; what is not known is `null`, or `-`.

use chrono::{DateTime, Local, SecondsFormat};
use serde_json::{Map, Value};

#[derive(Default)]
pub struct Report {
    facts: Vec<(String, Value)>,
    tables: Vec<(&'static str, Table)>,
}

pub struct Table {
    columns: &'static [&'static str],
    rows: Vec<Vec<Value>>,
}

impl Table {
    pub fn new(columns: &'static [&'static str]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    pub fn row<const N: usize>(&mut self, values: [Value; N]) {
        assert_eq!(N, self.columns.len(), "a row has a value for each column");
        self.rows.push(values.into());
    }

    fn json(&self) -> Value {
        let object = |row: &Vec<Value>| {
            let fields = self.columns.iter().map(|column| (*column).to_owned()).zip(row.iter().cloned());
            Value::Object(fields.collect())
        };
        self.rows.iter().map(object).collect()
    }

    fn text(&self) -> String {
        let heading: Vec<String> = self.columns.iter().map(|column| column.replace('_', " ")).collect();
        let rows: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(shown).collect()).collect();
        let numbers = |i: usize| {
            self.rows.iter().all(|row| row[i].is_number() || row[i].is_null()) && !self.rows.is_empty()
        };
        let width = |i: usize| {
            let cells = rows.iter().map(|row| &row[i]).chain([&heading[i]]);
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let columns: Vec<(usize, bool)> = (0..heading.len()).map(|i| (width(i), numbers(i))).collect();
        let mut out = String::new();
        for row in [&heading].into_iter().chain(&rows) {
            let mut line = String::new();
            for (cell, (width, numbers)) in row.iter().zip(&columns) {
                let width = *width;
                line += &if *numbers { format!("{cell:>width$}  ") } else { format!("{cell:<width$}  ") };
            }
            out += line.trim_end();
            out.push('\n');
        }
        out
    }
}

impl Report {
    pub fn fact(&mut self, name: impl Into<String>, value: impl Into<Value>) -> &mut Self {
        self.facts.push((name.into(), value.into()));
        self
    }

    pub fn table(&mut self, name: &'static str, table: Table) -> &mut Self {
        self.tables.push((name, table));
        self
    }

    pub fn print(&self, json: bool) {
        if json {
            println!("{}", self.json());
        } else {
            print!("{}", self.text());
        }
    }

    fn json(&self) -> Value {
        let facts = self.facts.iter().cloned();
        let tables = self.tables.iter().map(|(name, table)| ((*name).to_owned(), table.json()));
        Value::Object(facts.chain(tables).collect::<Map<_, _>>())
    }

    fn text(&self) -> String {
        let width = self.facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let facts = self.facts.iter().map(|(name, value)| {
            format!("{:<width$}  {}\n", name.replace('_', " "), shown(value)).trim_end().to_owned() + "\n"
        });
        let facts: String = facts.collect();
        let tables = self.tables.iter().map(|(_, table)| table.text());
        let parts: Vec<String> = [facts].into_iter().filter(|part| !part.is_empty()).chain(tables).collect();
        parts.join("\n")
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::Bool(true) => "yes".into(),
        Value::Bool(false) => "no".into(),
        Value::String(text) => plain(text),
        other => other.to_string(),
    }
}

/// Control characters of what others have written must not reach a terminal.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Milliseconds since the epoch; 0 and less are no time.
pub fn time(ms: i64) -> Value {
    let time = DateTime::from_timestamp_millis(ms).filter(|_| ms > 0);
    time.map_or(Value::Null, |time| {
        time.with_timezone(&Local).to_rfc3339_opts(SecondsFormat::Millis, false).into()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_forms_tell_the_same() {
        let mut table = Table::new(&["topic", "max_offset", "last"]);
        table.row(["orders".into(), 1234.into(), Value::Null]);
        table.row(["é".into(), 5.into(), "x".into()]);
        let mut report = Report::default();
        report.fact("group", "g").fact("total_lag", 7).fact("online", true).table("queues", table);
        let rows = json!([{"topic": "orders", "max_offset": 1234, "last": null}, {"topic": "é", "max_offset": 5, "last": "x"}]);
        assert_eq!(report.json(), json!({"group": "g", "total_lag": 7, "online": true, "queues": rows}));
        let text = "group      g\ntotal lag  7\nonline     yes\n\n\
            topic   max offset  last\norders        1234  -\né                5  x\n";
        assert_eq!(report.text(), text);
    }

    #[test]
    fn a_terminal_sees_no_control_characters() {
        assert_eq!(shown(&"a\u{1b}[2J\nb".into()), "a\u{fffd}[2J\u{fffd}b");
    }

    #[test]
    fn no_time_is_null() {
        assert_eq!((time(0), time(-1), time(i64::MAX)), (Value::Null, Value::Null, Value::Null));
        let shown = time(1_700_000_000_123);
        let back = DateTime::parse_from_rfc3339(shown.as_str().unwrap()).unwrap();
        assert_eq!(back.timestamp_millis(), 1_700_000_000_123);
    }
}
