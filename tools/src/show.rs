//! Numbers as people read them, in columns of a fixed width.

use hdrhistogram::Histogram;

/// 0 to 5 characters: 999, 12.3k, 4.56M.
pub fn count(value: f64) -> String {
    scaled(value, 1000.0, &["", "k", "M", "G", "T"])
}

pub fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &["", "Ki", "Mi", "Gi", "Ti"])
}

fn scaled(mut value: f64, step: f64, units: &[&str]) -> String {
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 && (value >= 99.5 || value.fract() == 0.0) => 0,
        value if value >= 99.5 => 0,
        value if value >= 9.95 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}{}", units[unit])
}

pub fn nanoseconds(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..10_000_000 => format!("{}us", decimals(ns as f64 / 1e3)),
        10_000_000..10_000_000_000 => format!("{}ms", decimals(ns as f64 / 1e6)),
        _ => format!("{}s", decimals(ns as f64 / 1e9)),
    }
}

fn decimals(value: f64) -> String {
    if value < 99.5 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// A percentile; `-` where nothing was measured.
pub fn quantile(times: &Histogram<u64>, quantile: f64) -> String {
    if times.is_empty() { "-".into() } else { nanoseconds(times.value_at_quantile(quantile)) }
}

pub fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let clock = format!("{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    if days > 0 { format!("{days}d {clock}") } else { clock }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_short() {
        for (value, shown) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (7.0, "7"),
            (999.0, "999"),
            (999.9, "1.00k"),
            (12_345.0, "12.3k"),
            (999_900.0, "1.00M"),
            (4_560_000.0, "4.56M"),
        ] {
            assert_eq!(count(value), shown);
        }
        assert_eq!(bytes(64.0 * 1024.0 * 1024.0), "64.0Mi");
        assert_eq!(nanoseconds(999), "999ns");
        assert_eq!(nanoseconds(1_234), "1.2us");
        assert_eq!(nanoseconds(1_234_000), "1234us");
        assert_eq!(nanoseconds(12_340_000), "12.3ms");
        assert_eq!(nanoseconds(61_000_000_000), "61.0s");
        assert_eq!(duration(90_061), "1d 01:01:01");
    }
}
