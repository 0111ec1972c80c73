//! Tools for operators. `ringmq admin` asks brokers and name servers as RocketMQ's own tools do, `ringmq top` and `ringmq admin latency`
//! a broker's admin port; `ringmq dump` looks at a store that no broker has open.
//!
//! Owns: the administration verbs, an HTTP client of a few lines, the screens, the tables, the files as an environment. Invariants: plain blocking code in a process of its own, never in
//! a broker's; every wait has a limit. On failure: an error that names the address.

mod admin;
mod dump;
mod fetch;
mod latency;
mod screen;
mod show;
mod top;

use clap::Args;

pub use admin::{AdminArgs, run as admin};
pub use dump::{DumpArgs, run as dump};
pub use top::run as top;

/// Where the broker's admin port is.
#[derive(Args, Clone, Debug)]
pub struct AdminAddress {
    /// The broker's admin port: `admin=` in its ready line
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:5557")]
    pub admin: String,
}

#[derive(Args, Clone, Debug)]
pub struct TopArgs {
    #[command(flatten)]
    pub address: AdminAddress,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: std::time::Duration,
    /// Print one screen as text and end
    #[arg(long)]
    pub once: bool,
}

/// `1`, `0.5`, `2s`, `500ms`.
fn interval(text: &str) -> Result<std::time::Duration, String> {
    let (number, unit) = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(number), _) => (number, 0.001),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (text, 1.0),
    };
    match number.parse::<f64>() {
        Ok(value) if (0.1..=3600.0).contains(&(value * unit)) => {
            Ok(std::time::Duration::from_secs_f64(value * unit))
        }
        _ => Err("expected 0.1 to 3600 seconds: 1, 0.5, 2s, 500ms".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::interval;

    #[test]
    fn intervals_are_read_with_and_without_unit() {
        assert_eq!(interval("1"), Ok(Duration::from_secs(1)));
        assert_eq!(interval("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(interval("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(interval("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["", "0", "s", "-1", "1h", "NaN", "1e9"] {
            assert!(interval(bad).is_err(), "{bad}");
        }
    }
}
