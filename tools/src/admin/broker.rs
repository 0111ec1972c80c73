//! `ringmq admin broker`: what a broker says of itself, its configuration, and changes of it.

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use ringmq_wire::code::request_code;
use ringmq_wire::properties_text;

use super::cluster::runtime_info;
use super::report::{Report, Table};
use super::session::Session;

#[derive(Subcommand, Clone, Debug)]
pub enum Verb {
    /// Counters, rates, disk, times: all that the broker tells
    Status(Which),
    /// All keys with their values; `set` changes some
    Config(Config),
}

#[derive(Args, Clone, Debug)]
pub struct Which {
    /// Address or name of the broker [default: the only one]
    #[arg(value_name = "BROKER")]
    pub broker: Option<String>,
}

#[derive(Args, Clone, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Config {
    #[command(flatten)]
    pub which: Which,
    #[command(subcommand)]
    pub change: Option<Change>,
}

#[derive(Subcommand, Clone, Debug)]
pub enum Change {
    /// Change keys of the running broker
    Set {
        #[arg(value_name = "KEY=VALUE", required = true, value_parser = setting)]
        settings: Vec<(String, String)>,
        /// Address or name of the broker [default: the only one]
        #[arg(long)]
        broker: Option<String>,
    },
}

fn setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().into(), value.trim().into())),
        _ => Err("expected KEY=VALUE".into()),
    }
}

pub fn run(session: &mut Session, verb: &Verb) -> Result<Report> {
    match verb {
        Verb::Status(which) => status(session, which.broker.as_deref()),
        Verb::Config(Config { which, change: None }) => {
            let address = session.broker(which.broker.as_deref())?;
            let mut report = Report::default();
            for (key, value) in config(session, &address)? {
                report.fact(key, value);
            }
            Ok(report)
        }
        Verb::Config(Config { change: Some(Change::Set { settings, broker }), .. }) => {
            set(session, broker.as_deref(), settings)
        }
    }
}

fn status(session: &mut Session, broker: Option<&str>) -> Result<Report> {
    let address = session.broker(broker)?;
    let mut report = Report::default();
    for (key, value) in runtime_info(session, &address)?.table {
        report.fact(key, value);
    }
    Ok(report)
}

/// In order of the keys.
fn config(session: &mut Session, address: &str) -> Result<Vec<(String, String)>> {
    let answer = session.ask(address, request_code::GET_BROKER_CONFIG, |_| {}, &[])?.ok()?;
    let entries = properties_text::parse(&String::from_utf8_lossy(&answer.body))?;
    let mut entries: Vec<_> =
        entries.into_iter().map(|entry| (entry.key, entry.value.trim().to_owned())).collect();
    entries.sort();
    Ok(entries)
}

/// Apache's broker passes over what it cannot use and calls that a success, hence the look afterwards.
fn set(session: &mut Session, broker: Option<&str>, settings: &[(String, String)]) -> Result<Report> {
    let address = session.broker(broker)?;
    let before = config(session, &address)?;
    let mut text = String::new();
    for (key, value) in settings {
        properties_text::write(&mut text, key, value);
    }
    session.ask(&address, request_code::UPDATE_BROKER_CONFIG, |_| {}, text.as_bytes())?.ok()?;
    let after = config(session, &address)?;
    let find = |entries: &[(String, String)], key: &str| {
        entries.iter().find(|entry| entry.0 == key).map(|entry| entry.1.clone())
    };
    let mut table = Table::new(&["key", "before", "now"]);
    for (key, value) in settings {
        let (old, new) = (find(&before, key), find(&after, key));
        if new.as_deref() != Some(value) && new == old {
            bail!("{address} did not take {key}={value}: it is {}", new.as_deref().unwrap_or("no key there"));
        }
        table.row([key.as_str().into(), old.into(), new.into()]);
    }
    let mut report = Report::default();
    report.fact("broker", address).table("changed", table);
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::setting;

    #[test]
    fn a_setting_has_a_key() {
        assert_eq!(setting("a = b=c "), Ok(("a".into(), "b=c".into())));
        assert_eq!(setting("a="), Ok(("a".into(), "".into())));
        assert!(setting("=b").is_err() && setting("a").is_err());
    }
}
