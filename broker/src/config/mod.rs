//! The broker's configuration: RocketMQ's `broker.conf` keys that have an effect here, and a few of our own.
//!
//! Owns: the table of keys (`keys!` below: name on file, field, default) and what to do with keys and values that
//! we cannot honour. Invariants: a key is never swallowed: without effect here it comes back as a `Warning`; a value
//! whose disregard would be dangerous (a slave, access control) is an error, so that the broker does not start.
//! On failure: `ConfigError` names key, value and line.

mod live;
mod value;

use std::net::IpAddr;
use std::path::PathBuf;

use thiserror::Error;

use ringmq_io::limits::{
    BROKER_NAME_BYTES_MAX, CONN_IDLE_SECS_MAX, FRAME_BYTES_MAX, ONCE_KEYS_PER_CORE, QUEUES_PER_TOPIC_MAX,
};

use ringmq_wire::properties_text::{self, BadEscape, Entry};

use crate::timers::DelayLevels;
pub use live::{ChangeError, LIVE, LiveConfig, Setting};
use value::Value;
pub use value::{AdvertisedAddresses, BrokerRole, Exporter, ExporterPort, FlushMode, Hours, OptionalIp};

/// What the defaults depend on; found out by the process, not here.
#[derive(Clone, Debug)]
pub struct HostFacts {
    pub host_name: String,
    /// The address that clients on other machines reach this one by.
    pub address: IpAddr,
    /// Where data goes unless the configuration says so.
    pub data: PathBuf,
}

/// A key that was read and changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line}: {key}={value} has no effect: {reason}")]
pub struct Warning {
    pub line: usize,
    pub key: String,
    pub value: String,
    pub reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    #[error(transparent)]
    Syntax(#[from] BadEscape),
    #[error("line {line}: {key}={value}: expected {expected}")]
    Value { line: usize, key: String, value: String, expected: &'static str },
    #[error("line {line}: {key}={value} is not supported: {reason}")]
    Refused { line: usize, key: String, value: String, reason: &'static str },
}

macro_rules! keys {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $key:literal, $default:expr;)*) => {
        /// Every key that has an effect, with its default filled in.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct BrokerConfig {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl BrokerConfig {
            pub fn defaults(host: &HostFacts) -> Self {
                Self { $($field: { let default: fn(&HostFacts) -> $type = $default; default(host) },)* }
            }

            /// `None`: no such key. `Some(Err(expected))`: not such a value.
            fn set(&mut self, key: &str, value: &str) -> Option<Result<(), &'static str>> {
                match key {
                    $($key => Some(match <$type as Value>::read(value) {
                        Some(value) => {
                            self.$field = value;
                            Ok(())
                        }
                        None => Err(<$type as Value>::EXPECTED),
                    }),)*
                    _ => None,
                }
            }

            /// All keys with their present values, as the answer to GET_BROKER_CONFIG (26) has them.
            pub fn properties_text(&self) -> String {
                let mut out = String::new();
                $(properties_text::write(&mut out, $key, &self.$field.show());)*
                out
            }
        }

        #[cfg(test)]
        const KEYS: &[&str] = &[$($key),*];
    };
}

keys! {
    // Who and where.
    broker_cluster_name: String = "brokerClusterName", |_| "DefaultCluster".into();
    broker_name: String = "brokerName", |host| host.host_name.clone();
    broker_id: u64 = "brokerId", |_| 0;
    broker_role: BrokerRole = "brokerRole", |_| BrokerRole::AsyncMaster;
    /// The address that name servers give to clients.
    broker_ip1: IpAddr = "brokerIP1", |host| host.address;
    /// The address that slaves would use.
    broker_ip2: IpAddr = "brokerIP2", |host| host.address;
    /// 0 picks a free port.
    listen_port: u16 = "listenPort", |_| 10911;
    bind_address: IpAddr = "bindAddress", |_| IpAddr::from([0, 0, 0, 0]);
    /// A connection without a byte in either direction for so long is closed. 0: never.
    server_channel_max_idle_secs: u32 = "serverChannelMaxIdleTimeSeconds", |_| CONN_IDLE_SECS_MAX as u32;
    /// Told to slaves and name servers; nothing listens there yet.
    ha_listen_port: u16 = "haListenPort", |_| 10912;
    /// `host:port`, several separated by `;`. Empty: registers nowhere.
    namesrv_addr: String = "namesrvAddr", |_| String::new();
    /// 2 write, 4 read: ANDed into the permission of every topic that is registered.
    broker_permission: u32 = "brokerPermission", |_| 6;
    region_id: String = "regionId", |_| "DefaultRegion".into();
    trace_on: bool = "traceOn", |_| true;

    // Registration.
    register_name_server_period_ms: u64 = "registerNameServerPeriod", |_| 30_000;
    register_broker_timeout_ms: u64 = "registerBrokerTimeoutMills", |_| 24_000;

    // Storage.
    store_path_root_dir: PathBuf = "storePathRootDir", |host| host.data.clone();
    flush_disk_type: FlushMode = "flushDiskType", |_| FlushMode::Async;
    /// Longest time between append and disk under ASYNC_FLUSH. RocketMQ's default is 500 ms; what a power loss may
    /// take is bounded by it, and a drain each 50 ms costs nothing measurable.
    flush_interval_ms: u64 = "flushIntervalCommitLog", |_| 50;
    sync_flush_timeout_ms: u64 = "syncFlushTimeout", |_| 5000;
    /// Hours a segment is kept.
    file_reserved_time: u32 = "fileReservedTime", |_| 72;
    /// Hours of the day at which old segments are deleted.
    delete_when: Hours = "deleteWhen", |_| Hours(vec![4]);
    disk_max_used_space_ratio: u32 = "diskMaxUsedSpaceRatio", |_| 75;
    disk_space_clean_forcibly_ratio: u32 = "diskSpaceCleanForciblyRatio", |_| 85;
    disk_space_warning_level_ratio: u32 = "diskSpaceWarningLevelRatio", |_| 90;
    clean_file_forcibly_enable: bool = "cleanFileForciblyEnable", |_| true;
    max_message_size: u32 = "maxMessageSize", |_| 4 * 1024 * 1024;

    // Topics and groups.
    auto_create_topic_enable: bool = "autoCreateTopicEnable", |_| true;
    auto_create_subscription_group: bool = "autoCreateSubscriptionGroup", |_| true;
    enable_create_sys_group: bool = "enableCreateSysGroup", |_| true;
    default_topic_queue_nums: u32 = "defaultTopicQueueNums", |_| 8;
    cluster_topic_enable: bool = "clusterTopicEnable", |_| true;
    broker_topic_enable: bool = "brokerTopicEnable", |_| true;
    trace_topic_enable: bool = "traceTopicEnable", |_| false;
    msg_trace_topic_name: String = "msgTraceTopicName", |_| "RMQ_SYS_TRACE_TOPIC".into();
    validate_system_topic_when_update_topic: bool = "validateSystemTopicWhenUpdateTopic", |_| true;
    enable_mixed_message_type: bool = "enableMixedMessageType", |_| false;
    split_metadata_size: u32 = "splitMetadataSize", |_| 2000;

    // Consumption.
    long_polling_enable: bool = "longPollingEnable", |_| true;
    short_polling_time_ms: u64 = "shortPollingTimeMills", |_| 1000;
    lite_pull_message_enable: bool = "litePullMessageEnable", |_| true;
    reject_transaction_message: bool = "rejectTransactionMessage", |_| false;
    /// How long a half message waits until its producer is asked.
    transaction_timeout_ms: u64 = "transactionTimeOut", |_| 6000;
    /// How long until the next time.
    transaction_check_interval_ms: u64 = "transactionCheckInterval", |_| 30_000;
    /// How often, before it is given up.
    transaction_check_max: u32 = "transactionCheckMax", |_| 15;
    /// An administrator's reset of offsets is made by the broker; otherwise by the group's consumers.
    use_server_side_reset_offset: bool = "useServerSideResetOffset", |_| true;
    /// SQL92 filters. RocketMQ's default is false.
    enable_property_filter: bool = "enablePropertyFilter", |_| true;
    /// Replies are stored besides being pushed to who asked.
    store_reply_message_enable: bool = "storeReplyMessageEnable", |_| true;
    reject_pull_consumer_enable: bool = "rejectPullConsumerEnable", |_| false;
    channel_expired_timeout_ms: u64 = "channelExpiredTimeout", |_| 120_000;
    max_transfer_bytes_in_memory: u32 = "maxTransferBytesOnMessageInMemory", |_| 256 * 1024;
    max_transfer_count_in_memory: u32 = "maxTransferCountOnMessageInMemory", |_| 32;
    max_transfer_bytes_in_disk: u32 = "maxTransferBytesOnMessageInDisk", |_| 256 * 1024;
    max_transfer_count_in_disk: u32 = "maxTransferCountOnMessageInDisk", |_| 32;
    max_msgs_num_batch: u32 = "maxMsgsNumBatch", |_| 64;
    default_query_max_num: u32 = "defaultQueryMaxNum", |_| 32;

    /// Of what a group with a tag filter is behind with, the metrics count what it wants.
    estimate_accumulation: bool = "estimateAccumulation", |_| true;

    // Delayed messages.
    message_delay_level: DelayLevels = "messageDelayLevel", |_| {
        DelayLevels::read("1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h").expect("levels")
    };
    timer_wheel_enable: bool = "timerWheelEnable", |_| true;
    /// Longest delay by a timer property. RocketMQ's default is three days, the longest that its wheel takes; ours is ten years,
    /// beyond which a time is taken for a mistake.
    timer_max_delay_sec: u64 = "timerMaxDelaySec", |_| 10 * 365 * 24 * 3600;

    recall_message_enable: bool = "recallMessageEnable", |_| false;
    // What is shown of all that. RocketMQ's default is DISABLE.
    metrics_exporter_type: Exporter = "metricsExporterType", |_| Exporter::Prom;
    /// 0 picks a free port.
    metrics_prom_exporter_port: ExporterPort = "metricsPromExporterPort", |_| ExporterPort::Default;
    /// Empty: `bindAddress`.
    metrics_prom_exporter_host: OptionalIp = "metricsPromExporterHost", |_| OptionalIp(None);

    // Ours.
    /// Port that clients are told; 0: `listenPort`.
    advertised_port: u16 = "advertisedPort", |_| 0;
    /// By name server, where not `brokerIP1` and `advertisedPort`.
    advertised_addresses: AdvertisedAddresses = "advertisedAddresses", |_| AdvertisedAddresses::default();
    /// Shards of a new store; 0: one for each core. A store keeps the number that it was made with.
    shards: u16 = "shards", |_| 0;
    /// Where the hot rings lie; empty: on tmpfs if there is one.
    ring_dir: PathBuf = "ringDir", |_| PathBuf::new();
    /// Memory of all hot rings together.
    ring_bytes: u64 = "ringBytes", |_| 64 * 1024 * 1024;
    segment_bytes: u64 = "segmentBytes", |_| 128 * 1024 * 1024;
    /// Unique keys that one core remembers for topics with `ringmq.dedup.window`.
    dedup_keys_per_core: u64 = "dedupKeysPerCore", |_| ONCE_KEYS_PER_CORE as u64;
}

/// Values that must not be passed over: the operator relies on what we do not do.
const REFUSED: &[(&str, &str, &str)] = &[
    ("brokerRole", "SLAVE", "replication is not built yet"),
    ("enableControllerMode", "true", "controller mode is not built yet"),
    ("enableDLegerCommitLog", "true", "DLedger is not part of RingMQ"),
    ("aclEnable", "true", "access control is not built yet, and this broker would be open to everybody"),
    (
        "authenticationEnabled",
        "true",
        "authentication is not built yet, and this broker would be open to everybody",
    ),
    (
        "authorizationEnabled",
        "true",
        "authorization is not built yet, and this broker would be open to everybody",
    ),
];

/// Keys that are honoured, but not with this value.
const WITHOUT_EFFECT: &[(&str, &str, &str)] = &[
    (
        "brokerRole",
        "SYNC_MASTER",
        "there are no slaves to wait for; an acknowledgement means what flushDiskType says",
    ),
    ("metricsExporterType", "OTLP_GRPC", "metrics are told by the Prometheus exporter only, which is on"),
    ("metricsExporterType", "LOG", "metrics are told by the Prometheus exporter only, which is on"),
];

impl BrokerConfig {
    /// Reads a `broker.conf`. Of a repeated key the last value counts, as in Java.
    pub fn parse(text: &str, host: &HostFacts) -> Result<(Self, Vec<Warning>), ConfigError> {
        let mut config = Self::defaults(host);
        let mut warnings = Vec::new();
        for Entry { line, key, value } in properties_text::parse(text)? {
            let value = value.trim().to_string();
            let listed = |table: &[(&str, &str, &'static str)]| {
                table.iter().find(|(k, v, _)| *k == key && v.eq_ignore_ascii_case(&value)).map(|row| row.2)
            };
            if let Some(reason) = listed(REFUSED) {
                return Err(ConfigError::Refused { line, key, value, reason });
            }
            if let Some(reason) = listed(WITHOUT_EFFECT) {
                warnings.push(Warning { line, key: key.clone(), value: value.clone(), reason });
            }
            match config.set(&key, &value) {
                Some(Ok(())) => {}
                Some(Err(expected)) => return Err(ConfigError::Value { line, key, value, expected }),
                None => {
                    warnings.push(Warning { line, key, value, reason: "RingMQ does not use this key" });
                    continue;
                }
            }
            if let Err(expected) = config.check(&key) {
                return Err(ConfigError::Value { line, key, value, expected });
            }
        }
        Ok((config, warnings))
    }

    /// What a type cannot say about a value.
    fn check(&self, key: &str) -> Result<(), &'static str> {
        let ratio = |value: u32| (1..=100).contains(&value);
        let ok = match key {
            "maxMessageSize" => {
                self.max_message_size >= 1 && self.max_message_size as usize <= FRAME_BYTES_MAX / 2
            }
            "diskMaxUsedSpaceRatio" => ratio(self.disk_max_used_space_ratio),
            "diskSpaceCleanForciblyRatio" => ratio(self.disk_space_clean_forcibly_ratio),
            "diskSpaceWarningLevelRatio" => ratio(self.disk_space_warning_level_ratio),
            "brokerPermission" => self.broker_permission <= 7,
            "defaultTopicQueueNums" => (1..=QUEUES_PER_TOPIC_MAX).contains(&self.default_topic_queue_nums),
            "brokerName" => is_name(&self.broker_name),
            "brokerClusterName" => is_name(&self.broker_cluster_name),
            "registerNameServerPeriod" => self.register_name_server_period_ms > 0,
            "splitMetadataSize" => self.split_metadata_size > 0,
            _ => true,
        };
        if ok {
            return Ok(());
        }
        Err(match key {
            "maxMessageSize" => "1 to 8388608 bytes (half a frame)",
            "brokerPermission" => "a sum of 4 (read), 2 (write) and 1 (inherit)",
            "defaultTopicQueueNums" => "1 to 65536",
            "brokerName" | "brokerClusterName" => "a name without blanks, 1 to 127 bytes",
            "registerNameServerPeriod" | "splitMetadataSize" => "more than 0",
            _ => "a percentage, 1 to 100",
        })
    }

    /// The name servers to register at, in the order given, without empty or repeated ones.
    pub fn name_servers(&self) -> Vec<String> {
        let mut servers: Vec<String> = Vec::new();
        for server in self.namesrv_addr.split([';', ',']).map(str::trim).filter(|s| !s.is_empty()) {
            if !servers.iter().any(|s| s == server) {
                servers.push(server.to_string());
            }
        }
        servers
    }
}

/// RocketMQ checks these names by nothing; host names with dots are usual.
fn is_name(name: &str) -> bool {
    (1..=BROKER_NAME_BYTES_MAX).contains(&name.len())
        && !name.contains(|c: char| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests;
