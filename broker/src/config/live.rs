//! What of the configuration can change while the broker runs, and how a core gets at it.
//!
//! Owns: the list of such keys, the checks of a change, and the configuration in force on a core. Invariants: a change is whole or
//! refused; every reader sees one consistent configuration, the one in force when it looked. One that was replaced is kept for the life
//! of the process, since somebody may hold a reference to it over a wait: it is about a KiB, and `CONFIG_CHANGES_MAX` bounds them.
//! On failure: `ChangeError` names the key.

use std::cell::Cell;
use std::ops::Deref;
use std::rc::Rc;

use thiserror::Error;

use super::{BrokerConfig, REFUSED};

/// Keys that are looked at each time they matter. Sorted.
pub const LIVE: [&str; 33] = [
    "autoCreateSubscriptionGroup",
    "autoCreateTopicEnable",
    "brokerPermission",
    "channelExpiredTimeout",
    "defaultQueryMaxNum",
    "enableCreateSysGroup",
    "enableMixedMessageType",
    "enablePropertyFilter",
    "estimateAccumulation",
    "litePullMessageEnable",
    "longPollingEnable",
    "maxMessageSize",
    "maxMsgsNumBatch",
    "maxTransferBytesOnMessageInDisk",
    "maxTransferBytesOnMessageInMemory",
    "maxTransferCountOnMessageInDisk",
    "maxTransferCountOnMessageInMemory",
    "messageDelayLevel",
    "recallMessageEnable",
    "registerBrokerTimeoutMills",
    "registerNameServerPeriod",
    "rejectPullConsumerEnable",
    "rejectTransactionMessage",
    "shortPollingTimeMills",
    "splitMetadataSize",
    "storeReplyMessageEnable",
    "timerMaxDelaySec",
    "timerWheelEnable",
    "transactionCheckInterval",
    "transactionCheckMax",
    "transactionTimeOut",
    "useServerSideResetOffset",
    "validateSystemTopicWhenUpdateTopic",
];

/// Where things lie on this machine: neither shown nor changed by a request
/// (RocketMQ 5.5.0 AdminBrokerProcessor#initConfigBlackList, and all paths).
fn is_black_listed(key: &str) -> bool {
    matches!(key, "brokerConfigPath" | "rocketmqHome" | "configBlackList" | "ringDir")
        || key.starts_with("storePath")
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChangeError {
    #[error("Can not update config in black list: {0}.")]
    BlackListed(String),
    #[error("{0} is no key that RingMQ uses; nothing was changed")]
    Unknown(String),
    #[error(
        "{0} cannot change while the broker runs: set it in broker.conf and restart; nothing was changed"
    )]
    AtStart(String),
    #[error("{key}={value}: expected {expected}; nothing was changed")]
    Value { key: String, value: String, expected: &'static str },
    #[error("{key}={value} is not supported: {reason}; nothing was changed")]
    Refused { key: String, value: String, reason: &'static str },
}

/// Key and value, as a change brings them.
pub type Setting = (Box<str>, Box<str>);

impl BrokerConfig {
    /// The configuration as it is after a change.
    pub fn changed(&self, settings: &[Setting]) -> Result<Self, ChangeError> {
        let mut config = self.clone();
        for (key, value) in settings {
            config.change(key, value)?;
        }
        Ok(config)
    }

    fn change(&mut self, key: &str, value: &str) -> Result<(), ChangeError> {
        if is_black_listed(key) {
            return Err(ChangeError::BlackListed(key.into()));
        }
        let bad = |expected| ChangeError::Value { key: key.into(), value: value.into(), expected };
        if let Some((_, _, reason)) =
            REFUSED.iter().find(|(k, v, _)| *k == key && v.eq_ignore_ascii_case(value))
        {
            return Err(ChangeError::Refused { key: key.into(), value: value.into(), reason });
        }
        match self.set(key, value) {
            None => return Err(ChangeError::Unknown(key.into())),
            Some(_) if !LIVE.contains(&key) => return Err(ChangeError::AtStart(key.into())),
            Some(outcome) => outcome.map_err(bad)?,
        }
        self.check(key).map_err(bad)
    }

    /// What a request is shown of it.
    pub fn shown_text(&self) -> String {
        let all = self.properties_text();
        let shown = all.lines().filter(|line| !is_black_listed(line.split('=').next().unwrap_or_default()));
        shown.flat_map(|line| [line, "\n"]).collect()
    }
}

/// The configuration in force on one core.
#[derive(Clone, Debug)]
pub struct LiveConfig(Rc<Cell<&'static BrokerConfig>>);

impl LiveConfig {
    pub fn new(config: BrokerConfig) -> Self {
        Self(Rc::new(Cell::new(Box::leak(Box::new(config)))))
    }

    /// Only for a change that the control core has checked.
    pub fn apply(&self, settings: &[Setting]) {
        match self.0.get().changed(settings) {
            Ok(config) => self.0.set(Box::leak(Box::new(config))),
            Err(error) => {
                debug_assert!(false, "a change that was checked is refused: {error}");
                tracing::error!(%error, "a change of the configuration has no effect on this core");
            }
        }
    }
}

impl Deref for LiveConfig {
    type Target = BrokerConfig;

    fn deref(&self) -> &BrokerConfig {
        self.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HostFacts;

    fn config() -> BrokerConfig {
        let host = HostFacts { host_name: "b".into(), address: [127, 0, 0, 1].into(), data: "/d".into() };
        BrokerConfig::defaults(&host)
    }

    fn change(settings: &[(&str, &str)]) -> Result<BrokerConfig, ChangeError> {
        let settings: Vec<Setting> = settings.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        config().changed(&settings)
    }

    #[test]
    fn every_live_key_is_a_key_and_takes_the_value_that_it_has() {
        assert!(LIVE.is_sorted());
        let text = config().properties_text();
        for key in LIVE {
            let line = text.lines().find(|line| line.starts_with(&format!("{key}="))).expect(key);
            assert_eq!(change(&[(key, &line[key.len() + 1..])]), Ok(config()), "{key}");
        }
    }

    #[test]
    fn a_change_is_whole_or_refused_by_name() {
        let changed = change(&[("defaultQueryMaxNum", "7"), ("brokerPermission", "4")]).unwrap();
        assert_eq!((changed.default_query_max_num, changed.broker_permission), (7, 4));
        for (key, value, words) in [
            ("defaultQueryMaxNum", "many", "defaultQueryMaxNum=many: expected"),
            ("brokerPermission", "9", "brokerPermission=9: expected a sum"),
            ("listenPort", "1", "listenPort cannot change while the broker runs"),
            ("noSuchKey", "1", "noSuchKey is no key"),
            ("storePathRootDir", "/x", "black list"),
            ("ringDir", "/x", "black list"),
            ("brokerConfigPath", "/x", "black list"),
            ("aclEnable", "true", "aclEnable=true is not supported"),
        ] {
            let error = change(&[("defaultQueryMaxNum", "7"), (key, value)]).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn paths_are_not_shown() {
        let text = config().shown_text();
        assert!(text.contains("brokerName=b\n") && !text.contains("storePath") && !text.contains("ringDir"));
    }

    #[test]
    fn readers_of_a_core_see_the_change() {
        let live = LiveConfig::new(config());
        let other = live.clone();
        let held: &BrokerConfig = &other;
        live.apply(&[("maxMsgsNumBatch".into(), "3".into())]);
        assert_eq!((held.max_msgs_num_batch, other.max_msgs_num_batch), (64, 3));
    }
}
