//! The types that a configuration value can have, and how they are read and shown.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::timers::DelayLevels;

pub(super) trait Value: Sized {
    /// What a bad value should have been, for the error.
    const EXPECTED: &'static str;
    fn read(text: &str) -> Option<Self>;
    fn show(&self) -> String;
}

/// When a message is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// In the ring: survives the process.
    Async,
    /// On the device: survives a power loss.
    Sync,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerRole {
    AsyncMaster,
    SyncMaster,
}

/// Hours of the day, `04` or `04;16`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours(pub Vec<u8>);

/// `metricsExporterType`: of RocketMQ's four, the Prometheus exporter and none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exporter {
    Disable,
    OtlpGrpc,
    Prom,
    Log,
}

impl Exporter {
    pub fn is_on(self) -> bool {
        self != Self::Disable
    }
}

/// `metricsPromExporterPort`.
#[derive(Clone, Copy, Debug)]
pub enum ExporterPort {
    /// Nobody has asked for one.
    Default,
    Chosen(u16),
}

impl ExporterPort {
    pub const DEFAULT: u16 = 5557;

    fn number(self) -> u16 {
        match self {
            Self::Default => Self::DEFAULT,
            Self::Chosen(port) => port,
        }
    }
}

/// Who has chosen a port is not part of its value: a configuration that was shown reads back to the same one.
impl PartialEq for ExporterPort {
    fn eq(&self, other: &Self) -> bool {
        self.number() == other.number()
    }
}

impl Eq for ExporterPort {}

/// An address, or none: then another key's counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionalIp(pub Option<IpAddr>);

/// What each of some name servers tells its clients instead of `brokerIP1` and the port: pairs of a name server, as in
/// `namesrvAddr`, and `host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdvertisedAddresses(pub Vec<(String, String)>);

macro_rules! parsed {
    ($($type:ty, $expected:literal;)*) => {$(
        impl Value for $type {
            const EXPECTED: &'static str = $expected;
            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

parsed! {
    u16, "a whole number, 0 to 65535";
    u32, "a whole number, 0 to 4294967295";
    u64, "a whole number, 0 or more";
    IpAddr, "an IP address";
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";
    fn read(text: &str) -> Option<Self> {
        match text {
            t if t.eq_ignore_ascii_case("true") => Some(true),
            t if t.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for String {
    const EXPECTED: &'static str = "text";
    fn read(text: &str) -> Option<Self> {
        Some(text.to_string())
    }
    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";
    fn read(text: &str) -> Option<Self> {
        Some(PathBuf::from(text))
    }
    fn show(&self) -> String {
        self.to_string_lossy().into_owned()
    }
}

impl Value for FlushMode {
    const EXPECTED: &'static str = "ASYNC_FLUSH or SYNC_FLUSH";
    fn read(text: &str) -> Option<Self> {
        match text {
            "ASYNC_FLUSH" => Some(Self::Async),
            "SYNC_FLUSH" => Some(Self::Sync),
            _ => None,
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Async => "ASYNC_FLUSH".into(),
            Self::Sync => "SYNC_FLUSH".into(),
        }
    }
}

impl Value for BrokerRole {
    const EXPECTED: &'static str = "ASYNC_MASTER or SYNC_MASTER";
    fn read(text: &str) -> Option<Self> {
        match text {
            "ASYNC_MASTER" => Some(Self::AsyncMaster),
            "SYNC_MASTER" => Some(Self::SyncMaster),
            _ => None,
        }
    }
    fn show(&self) -> String {
        match self {
            Self::AsyncMaster => "ASYNC_MASTER".into(),
            Self::SyncMaster => "SYNC_MASTER".into(),
        }
    }
}

impl Value for DelayLevels {
    const EXPECTED: &'static str = "delays like 1s 5m 2h 1d, separated by blanks";
    fn read(text: &str) -> Option<Self> {
        Self::read(text)
    }
    fn show(&self) -> String {
        self.show()
    }
}

impl Value for Hours {
    const EXPECTED: &'static str = "hours of the day, 00 to 23, separated by ;";
    fn read(text: &str) -> Option<Self> {
        let hours: Option<Vec<u8>> =
            text.split(';').map(|hour| hour.trim().parse().ok().filter(|hour| *hour < 24)).collect();
        hours.filter(|hours| !hours.is_empty()).map(Hours)
    }
    fn show(&self) -> String {
        let hours: Vec<_> = self.0.iter().map(|hour| format!("{hour:02}")).collect();
        hours.join(";")
    }
}

impl Value for Exporter {
    const EXPECTED: &'static str = "DISABLE or PROM";
    fn read(text: &str) -> Option<Self> {
        // RocketMQ takes the names and their numbers.
        match text {
            "DISABLE" | "0" => Some(Self::Disable),
            "OTLP_GRPC" | "1" => Some(Self::OtlpGrpc),
            "PROM" | "2" => Some(Self::Prom),
            "LOG" | "3" => Some(Self::Log),
            _ => None,
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Disable => "DISABLE",
            Self::OtlpGrpc => "OTLP_GRPC",
            Self::Prom => "PROM",
            Self::Log => "LOG",
        }
        .into()
    }
}

impl Value for ExporterPort {
    const EXPECTED: &'static str = <u16 as Value>::EXPECTED;
    fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Self::Chosen)
    }
    fn show(&self) -> String {
        self.number().to_string()
    }
}

impl Value for OptionalIp {
    const EXPECTED: &'static str = "an IP address, or nothing";
    fn read(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self(None));
        }
        text.parse().ok().map(|ip| Self(Some(ip)))
    }
    fn show(&self) -> String {
        self.0.map(|ip| ip.to_string()).unwrap_or_default()
    }
}

impl Value for AdvertisedAddresses {
    const EXPECTED: &'static str = "NAMESRV=HOST:PORT, several separated by ;";
    fn read(text: &str) -> Option<Self> {
        let pairs = text.split(';').map(str::trim).filter(|pair| !pair.is_empty()).map(|pair| {
            let (name_server, address) = pair.split_once('=')?;
            let (name_server, address) = (name_server.trim(), address.trim());
            let (host, port) = address.rsplit_once(':')?;
            let port = port.parse::<u16>().ok()?;
            let is_name = |text: &str| !text.is_empty() && !text.contains([' ', '=', ',']);
            (port > 0 && is_name(host) && is_name(name_server))
                .then(|| (name_server.to_owned(), address.to_owned()))
        });
        pairs.collect::<Option<Vec<_>>>().map(Self)
    }
    fn show(&self) -> String {
        let pairs: Vec<_> =
            self.0.iter().map(|(name_server, address)| format!("{name_server}={address}")).collect();
        pairs.join(";")
    }
}
