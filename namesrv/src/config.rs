//! The name server's settings: RocketMQ's own keys, read from `namesrv.conf` and changed by request 318.
//!
//! Invariants: a key is either in `KEYS`, and then has an effect, or is reported as having none; an unparsable value is
//! an error that names key, value and line, and then nothing is changed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use ringmq_wire::properties_text::{self, BadEscape, Entry};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamesrvConfig {
    pub bind_address: IpAddr,
    pub listen_port: u16,
    pub kv_config_path: PathBuf,
    /// Where settings changed at run time are kept.
    pub config_store_path: PathBuf,
    /// A route carries the order-topic configuration of its topic.
    pub order_message_enable: bool,
    pub return_order_topic_config_to_broker: bool,
    pub support_acting_master: bool,
    pub enable_all_topic_list: bool,
    pub enable_topic_list: bool,
    pub need_wait_for_service: bool,
    pub wait_for_service: Duration,
    pub delete_topic_with_broker_registration: bool,
    pub scan_not_active_broker_interval: Duration,
    /// A connection without a byte for so long is closed.
    pub channel_max_idle: Duration,
    /// Further keys, separated by `;`, that request 318 may not change.
    pub config_black_list: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error(transparent)]
    Syntax(#[from] BadEscape),
    #[error("line {line}: {key}={value}: {expected}")]
    Value { key: String, value: String, line: usize, expected: &'static str },
}

/// What a set of properties did to a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Keys, with their values, whose value is another one now.
    pub changed: BTreeMap<String, String>,
    /// Keys that mean nothing here, with the reason.
    pub without_effect: Vec<(String, &'static str)>,
}

struct Key {
    name: &'static str,
    /// A change at run time has an effect.
    live: bool,
    parse: fn(&mut NamesrvConfig, &str) -> Result<(), &'static str>,
    show: fn(&NamesrvConfig) -> String,
}

/// A type of setting: how it is read and shown, and what to say if it cannot be read.
trait Kind {
    type Value;
    const EXPECTED: &str;
    fn parse(text: &str) -> Option<Self::Value>;
    fn show(value: &Self::Value) -> String;
}

macro_rules! kinds {
    ($($kind:ident: $type:ty, $expected:literal, $parse:expr, $show:expr;)*) => {$(
        struct $kind;
        impl Kind for $kind {
            type Value = $type;
            const EXPECTED: &str = $expected;
            fn parse(text: &str) -> Option<$type> {
                let parse: fn(&str) -> Option<$type> = $parse;
                parse(text)
            }
            fn show(value: &$type) -> String {
                let show: fn(&$type) -> String = $show;
                show(value)
            }
        }
    )*};
}

kinds! {
    Address: IpAddr, "needs an IP address", |text| text.parse().ok(), IpAddr::to_string;
    Port: u16, "needs a port number, 0 to 65535", |text| text.parse().ok(), u16::to_string;
    Text: String, "needs text", |text| Some(text.into()), String::clone;
    File: PathBuf, "needs a path", |text| (!text.is_empty()).then(|| text.into()), |path| path.display().to_string();
    Flag: bool, "needs true or false", |text| text.to_ascii_lowercase().parse().ok(), bool::to_string;
    Seconds: Duration, "needs whole seconds, 0 to 86400",
        |text| text.parse().ok().filter(|s| *s <= 86_400).map(Duration::from_secs), |time| time.as_secs().to_string();
    Millis: Duration, "needs milliseconds, 10 to 3600000",
        |text| text.parse().ok().filter(|ms| (10..=3_600_000).contains(ms)).map(Duration::from_millis),
        |time| time.as_millis().to_string();
}

macro_rules! keys {
    ($($name:literal => $field:ident: $kind:ident, $when:ident;)*) => {
        /// Every key that has an effect, in alphabetical order.
        const KEYS: &[Key] = &[$(Key {
            name: $name,
            live: keys!(@$when),
            parse: |config, text| {
                config.$field = $kind::parse(text).ok_or($kind::EXPECTED)?;
                Ok(())
            },
            show: |config| $kind::show(&config.$field),
        },)*];
    };
    (@at_start) => { false };
    (@live) => { true };
}

/// Where things lie on this machine: neither shown nor changed by a request.
const PATHS: [&str; 2] = ["configStorePath", "kvConfigPath"];

keys! {
    "bindAddress" => bind_address: Address, at_start;
    "configBlackList" => config_black_list: Text, live;
    "configStorePath" => config_store_path: File, at_start;
    "deleteTopicWithBrokerRegistration" => delete_topic_with_broker_registration: Flag, live;
    "enableAllTopicList" => enable_all_topic_list: Flag, live;
    "enableTopicList" => enable_topic_list: Flag, live;
    "kvConfigPath" => kv_config_path: File, at_start;
    "listenPort" => listen_port: Port, at_start;
    "needWaitForService" => need_wait_for_service: Flag, live;
    "orderMessageEnable" => order_message_enable: Flag, live;
    "returnOrderTopicConfigToBroker" => return_order_topic_config_to_broker: Flag, live;
    "scanNotActiveBrokerInterval" => scan_not_active_broker_interval: Millis, live;
    "serverChannelMaxIdleTimeSeconds" => channel_max_idle: Seconds, at_start;
    "supportActingMaster" => support_acting_master: Flag, live;
    "waitSecondsForService" => wait_for_service: Seconds, live;
}

/// Keys that RocketMQ knows and that mean nothing here.
const WITHOUT_EFFECT: &[(&[&str], &str)] = &[
    (
        &[
            "clientRequestThreadPoolNums",
            "defaultThreadPoolNums",
            "clientRequestThreadPoolQueueCapacity",
            "defaultThreadPoolQueueCapacity",
            "unRegisterBrokerQueueCapacity",
            "serverWorkerThreads",
            "serverCallbackExecutorThreads",
            "serverSelectorThreads",
            "serverOnewaySemaphoreValue",
            "serverAsyncSemaphoreValue",
            "useEpollNativeSelector",
            "serverPooledByteBufAllocatorEnable",
            "serverNettyWorkerGroupEnable",
        ],
        "there are no thread pools: one core does it all",
    ),
    (
        &[
            "serverSocketSndBufSize",
            "serverSocketRcvBufSize",
            "writeBufferHighWaterMark",
            "writeBufferLowWaterMark",
            "serverSocketBacklog",
        ],
        "buffers have fixed limits",
    ),
    (&["rocketmqHome"], "nothing is read from an installation directory"),
    (&["productEnvName", "clusterTest"], "the test-environment mode is not supported"),
    (&["notifyMinBrokerIdChanged"], "brokers are not told about acting masters yet"),
    (&["enableControllerInNamesrv"], "there is no controller yet"),
    (&["enableShutdownGracefully", "shutdownWaitTimeSeconds"], "queued answers always get 0.4 s to leave"),
];

impl NamesrvConfig {
    /// Defaults, with files below `data`.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let dir = data.into().join("namesrv");
        Self {
            bind_address: [0, 0, 0, 0].into(),
            listen_port: 9876,
            kv_config_path: dir.join("kvConfig.json"),
            config_store_path: dir.join("namesrv.properties"),
            order_message_enable: false,
            return_order_topic_config_to_broker: true,
            support_acting_master: false,
            enable_all_topic_list: true,
            enable_topic_list: true,
            need_wait_for_service: false,
            wait_for_service: Duration::from_secs(45),
            delete_topic_with_broker_registration: false,
            scan_not_active_broker_interval: Duration::from_secs(5),
            channel_max_idle: Duration::from_secs(ringmq_io::limits::CONN_IDLE_SECS_MAX),
            config_black_list: "configBlackList;configStorePath;kvConfigPath".into(),
        }
    }

    pub fn listen_addr(&self) -> SocketAddr {
        (self.bind_address, self.listen_port).into()
    }

    /// Applies the text of a configuration file. On an error nothing is changed.
    pub fn apply(&mut self, text: &str) -> Result<Applied, ConfigError> {
        self.apply_entries(&properties_text::parse(text)?, |_| true)
    }

    /// Applies changes at run time; settings that only count at start are left as they are.
    pub(crate) fn apply_live(&mut self, entries: &[Entry]) -> Result<Applied, ConfigError> {
        self.apply_entries(entries, |key| key.live)
    }

    fn apply_entries(
        &mut self,
        entries: &[Entry],
        takes: impl Fn(&Key) -> bool,
    ) -> Result<Applied, ConfigError> {
        let mut next = self.clone();
        let mut applied = Applied::default();
        for Entry { line, key: name, value } in entries {
            let value = value.trim();
            let key = match KEYS.iter().find(|key| key.name == *name) {
                Some(key) if takes(key) => key,
                Some(_) => {
                    applied.without_effect.push((name.clone(), "only read at start"));
                    continue;
                }
                None => {
                    applied.without_effect.push((name.clone(), reason(name)));
                    continue;
                }
            };
            (key.parse)(&mut next, value).map_err(|expected| ConfigError::Value {
                key: name.clone(),
                value: value.to_owned(),
                line: *line,
                expected,
            })?;
            if (key.show)(&next) != (key.show)(self) {
                applied.changed.insert(name.clone(), (key.show)(&next));
            }
        }
        *self = next;
        Ok(applied)
    }

    /// `key=value` lines, as request 319 answers them: all but where files lie, which RocketMQ 5.5.0 shows too.
    pub fn shown_text(&self) -> String {
        let mut text = String::new();
        for key in KEYS.iter().filter(|key| !PATHS.contains(&key.name)) {
            properties_text::write(&mut text, key.name, &(key.show)(self));
        }
        text
    }

    /// RocketMQ 5.5.0 DefaultRequestProcessor#initConfigBlackList: three keys are protected whatever the list says.
    pub(crate) fn is_black_listed(&self, key: &str) -> bool {
        PATHS.contains(&key)
            || ["configBlackList", "rocketmqHome"].contains(&key)
            || self.config_black_list.split(';').any(|name| name == key)
    }
}

fn reason(key: &str) -> &'static str {
    let known = WITHOUT_EFFECT.iter().find(|(names, _)| names.contains(&key));
    known.map_or("unknown key", |(_, reason)| reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_namesrv_conf() {
        let mut config = NamesrvConfig::new("data");
        assert_eq!(config.listen_addr(), "0.0.0.0:9876".parse().unwrap());
        assert_eq!(config.kv_config_path, PathBuf::from("data/namesrv/kvConfig.json"));
        let text = "listenPort=19876\nbindAddress=127.0.0.1\nkvConfigPath=/x/kv.json\nneedWaitForService=TRUE\nserverWorkerThreads=8\nfoo=bar\nenableTopicList=true\n";
        let applied = config.apply(text).unwrap();
        assert_eq!(config.listen_addr(), "127.0.0.1:19876".parse().unwrap());
        assert_eq!(config.kv_config_path, PathBuf::from("/x/kv.json"));
        assert!(config.need_wait_for_service);
        let changed: Vec<_> = applied.changed.keys().map(String::as_str).collect();
        assert_eq!(changed, ["bindAddress", "kvConfigPath", "listenPort", "needWaitForService"]);
        let idle: Vec<_> = applied.without_effect.iter().map(|(key, why)| (key.as_str(), *why)).collect();
        assert_eq!(idle, [("serverWorkerThreads", WITHOUT_EFFECT[0].1), ("foo", "unknown key")]);
    }

    #[test]
    fn an_error_names_key_value_and_line_and_changes_nothing() {
        let mut config = NamesrvConfig::new("data");
        let before = config.clone();
        for (text, message) in [
            (
                "enableTopicList=false\nlistenPort=70000",
                "line 2: listenPort=70000: needs a port number, 0 to 65535",
            ),
            ("needWaitForService=yes", "line 1: needWaitForService=yes: needs true or false"),
            ("bindAddress=localhost", "line 1: bindAddress=localhost: needs an IP address"),
            (
                "scanNotActiveBrokerInterval=0",
                "line 1: scanNotActiveBrokerInterval=0: needs milliseconds, 10 to 3600000",
            ),
        ] {
            assert_eq!(config.apply(text).unwrap_err().to_string(), message);
            assert_eq!(config, before);
        }
    }

    #[test]
    fn every_key_but_paths_is_shown_and_read_back() {
        assert!(KEYS.is_sorted_by_key(|key| key.name));
        let mut config = NamesrvConfig::new("data");
        config.apply("listenPort=1\nsupportActingMaster=true\nwaitSecondsForService=7\nconfigBlackList=listenPort;x").unwrap();
        let mut other = NamesrvConfig::new("data");
        other.apply(&config.shown_text()).unwrap();
        assert_eq!(config, other);
        assert_eq!(config.shown_text().lines().count(), KEYS.len() - PATHS.len());
        let live = properties_text::parse("listenPort=2\nenableTopicList=false").unwrap();
        let applied = config.apply_live(&live).unwrap();
        assert_eq!(applied.without_effect, [("listenPort".to_owned(), "only read at start")]);
        assert_eq!(applied.changed, [("enableTopicList".to_owned(), "false".to_owned())].into());
        assert!(config.is_black_listed("listenPort") && config.is_black_listed("kvConfigPath"));
        assert!(!config.is_black_listed("enableTopicList"));
    }
}
