//! The Prometheus text format (version 0.0.4), family by family.
//!
//! Invariants: a family's HELP and TYPE come once, before its samples, and its samples together; label values are
//! escaped; no number is written that the format does not know.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::pages::Pages;
use crate::buckets::{Counted, Scale};

pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the buckets that histograms are told in, seconds: what is asked of a broker lies between.
const BOUNDS: [(u64, &str); 14] = [
    (1_000, "0.000001"),
    (5_000, "0.000005"),
    (10_000, "0.00001"),
    (25_000, "0.000025"),
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (50_000_000, "0.05"),
    (250_000_000, "0.25"),
    (1_000_000_000, "1"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Labels of a sample.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// Writes families.
pub struct Text {
    pub out: Pages,
    /// On every sample.
    common: String,
    family: &'static str,
    /// All families so far: none may come twice.
    begun: Vec<&'static str>,
}

impl Text {
    pub fn new(common: Labels<'_>) -> Self {
        let mut text = Self { out: Pages::default(), common: String::new(), family: "", begun: Vec::new() };
        for (name, value) in common {
            let comma = if text.common.is_empty() { "" } else { "," };
            text.common += &format!("{comma}{name}=\"{}\"", escaped(value));
        }
        text
    }

    /// The samples that follow are of this family.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        assert!(!self.begun.contains(&name), "family {name} comes twice");
        self.begun.push(name);
        self.family = name;
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    pub fn sample(&mut self, labels: Labels<'_>, value: u64) {
        self.line("", labels, None, format_args!("{value}"));
    }

    pub fn float(&mut self, labels: Labels<'_>, value: f64) {
        self.line("", labels, None, format_args!("{value}"));
    }

    /// A histogram of nanoseconds, told in seconds.
    pub fn seconds(&mut self, labels: Labels<'_>, times: &Histogram<u64>) {
        let mut below = 0;
        let mut last = 0;
        for (bound, le) in BOUNDS {
            // A bucket of ours that holds the bound counts above it: its values may be.
            let bound = times.lowest_equivalent(bound);
            if bound > last {
                below += times.count_between(last, bound - 1).min(times.len() - below);
                last = bound;
            }
            self.line("_bucket", labels, Some(le), format_args!("{below}"));
        }
        self.line("_bucket", labels, Some("+Inf"), format_args!("{}", times.len()));
        let sum = times.mean() * times.len() as f64 / 1e9;
        self.line("_sum", labels, None, format_args!("{sum}"));
        self.line("_count", labels, None, format_args!("{}", times.len()));
    }

    /// A histogram of RocketMQ's.
    pub fn buckets<S: Scale>(&mut self, labels: Labels<'_>, counted: &Counted) {
        for (bound, count) in S::BOUNDS.iter().zip(counted.up_to_each()) {
            self.line("_bucket", labels, Some(&format!("{bound}.0")), format_args!("{count}"));
        }
        self.line("_bucket", labels, Some("+Inf"), format_args!("{}", counted.total()));
        self.line("_sum", labels, None, format_args!("{}", counted.sum));
        self.line("_count", labels, None, format_args!("{}", counted.total()));
    }

    fn line(&mut self, suffix: &str, labels: Labels<'_>, le: Option<&str>, value: std::fmt::Arguments<'_>) {
        let mut line = String::with_capacity(160);
        line += self.family;
        line += suffix;
        line.push('{');
        line += &self.common;
        for (name, value) in labels.iter().copied().chain(le.map(|le| ("le", le))) {
            if !line.ends_with('{') {
                line.push(',');
            }
            line += name;
            line += "=\"";
            line += &escaped(value);
            line.push('"');
        }
        let _ = writeln!(line, "}} {value}");
        self.write(format_args!("{line}"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("memory takes text");
    }
}

fn escaped(value: &str) -> std::borrow::Cow<'_, str> {
    if value.contains(['\\', '"', '\n']) {
        value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        value.into()
    }
}

#[cfg(test)]
mod tests {
    use ringmq_io::vitals::nanoseconds;

    use super::*;

    fn shown(text: Text) -> String {
        String::from_utf8(text.out.into_pieces().concat()).unwrap()
    }

    #[test]
    fn samples_carry_all_labels_escaped() {
        let mut text = Text::new(&[("cluster", "a\"b")]);
        text.family("x_total", Kind::Counter, "What x did");
        text.sample(&[], 3);
        text.sample(&[("topic", "a\\b\nc")], u64::MAX);
        assert_eq!(
            shown(text),
            "# HELP x_total What x did\n# TYPE x_total counter\nx_total{cluster=\"a\\\"b\"} 3\n\
             x_total{cluster=\"a\\\"b\",topic=\"a\\\\b\\nc\"} 18446744073709551615\n"
        );
    }

    #[test]
    fn histograms_are_cumulative_and_complete() {
        let mut times = nanoseconds();
        for ns in [70, 999, 1_001, 20_000, 3_000_000_000] {
            times.record(ns).unwrap();
        }
        let mut text = Text::new(&[]);
        text.family("x_seconds", Kind::Histogram, "x");
        text.seconds(&[("stage", "send")], &times);
        let shown = shown(text);
        let counts: Vec<u64> = shown
            .lines()
            .filter(|line| line.starts_with("x_seconds_bucket"))
            .map(|line| line.rsplit(' ').next().unwrap().parse().unwrap())
            .collect();
        assert!(counts.is_sorted(), "{counts:?}");
        assert_eq!((counts[1], counts[3], counts[13], counts[14]), (3, 4, 4, 5), "{shown}");
        assert!(shown.contains("x_seconds_count{stage=\"send\"} 5\n"));
        assert!(shown.contains("le=\"+Inf\"} 5\n"));
    }

    #[test]
    #[should_panic(expected = "comes twice")]
    fn a_family_comes_once() {
        let mut text = Text::new(&[]);
        text.family("x", Kind::Gauge, "x");
        text.family("x", Kind::Gauge, "x");
    }
}
