//! Who is at the other end: client language and client version, as carried by each header.
//!
//! Invariant: an unknown language never fails a frame (old and new clients disagree about the list); it reads as
//! `Other`. Versions are ordinals of an enum in the Java code base; only those that change behaviour have a name.

/// Language of the peer's client library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Language {
    #[default]
    Java = 0,
    Cpp = 1,
    Dotnet = 2,
    Python = 3,
    Delphi = 4,
    Erlang = 5,
    Ruby = 6,
    Other = 7,
    Http = 8,
    Go = 9,
    Php = 10,
    Oms = 11,
    Rust = 12,
    NodeJs = 13,
}

const ALL: [(Language, &str); 14] = [
    (Language::Java, "JAVA"),
    (Language::Cpp, "CPP"),
    (Language::Dotnet, "DOTNET"),
    (Language::Python, "PYTHON"),
    (Language::Delphi, "DELPHI"),
    (Language::Erlang, "ERLANG"),
    (Language::Ruby, "RUBY"),
    (Language::Other, "OTHER"),
    (Language::Http, "HTTP"),
    (Language::Go, "GO"),
    (Language::Php, "PHP"),
    (Language::Oms, "OMS"),
    (Language::Rust, "RUST"),
    (Language::NodeJs, "NODE_JS"),
];

impl Language {
    /// The language with this one-byte code; unknown codes read as `Other`.
    pub fn from_code(code: u8) -> Language {
        ALL.get(code as usize).map_or(Language::Other, |(language, _)| *language)
    }

    /// The language with this name, in any case; unknown names read as `Other`.
    pub fn from_name(name: &str) -> Language {
        ALL.iter()
            .find(|(_, n)| n.eq_ignore_ascii_case(name))
            .map_or(Language::Other, |(language, _)| *language)
    }

    pub fn code(self) -> u8 {
        self as u8
    }

    pub fn name(self) -> &'static str {
        ALL[self as usize].1
    }
}

/// Version ordinals on which behaviour hangs.
pub mod ordinal {
    pub const V3_0_6_SNAPSHOT: i32 = 26;
    /// Below: 220 and 221 are refused.
    pub const V3_0_7_SNAPSHOT: i32 = 28;
    pub const V3_0_11: i32 = 37;
    /// Below: 307 and 309 are refused.
    pub const V3_1_8_SNAPSHOT: i32 = 62;
    /// From here on a send header's maxReconsumeTimes overrides the group's retryMaxTimes.
    pub const V3_4_9: i32 = 121;
    /// A broker below this makes a client refuse SQL92 subscriptions.
    pub const V4_1_0_SNAPSHOT: i32 = 232;
    /// What rocketmq-client-go v2 sends.
    pub const GO_CLIENT: i32 = 317;
    /// From here on a route is answered in standard JSON.
    pub const V4_9_4: i32 = 401;
    /// From here on a compressed register-broker body has the queue-mapping tail.
    pub const V5_0_0: i32 = 413;
    pub const V5_3_1: i32 = 475;
    pub const V5_3_3: i32 = 479;
    pub const V5_5_0: i32 = 513;
    /// What RingMQ sends, as the reference server does.
    pub const CURRENT: i32 = V5_5_0;
}

/// The name that Java's `MQVersion` gives to an ordinal. It counts two a version (a snapshot and a release) from 4.1.0 on;
/// older ones are shown as their number.
pub fn name(version: i32) -> String {
    if version < ordinal::V4_1_0_SNAPSHOT {
        return version.to_string();
    }
    let steps = version - ordinal::V4_1_0_SNAPSHOT;
    let number = 410 + steps / 2;
    let snapshot = if steps % 2 == 0 { "_SNAPSHOT" } else { "" };
    format!("V{}_{}_{}{snapshot}", number / 100, number / 10 % 10, number % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_the_names_of_the_java_code() {
        for (version, shown) in [
            (ordinal::V4_1_0_SNAPSHOT, "V4_1_0_SNAPSHOT"),
            (ordinal::GO_CLIENT, "V4_5_2"),
            (ordinal::V4_9_4, "V4_9_4"),
            (ordinal::V5_0_0, "V5_0_0"),
            (ordinal::V5_5_0, "V5_5_0"),
            (ordinal::V3_4_9, "121"),
            (-1, "-1"),
        ] {
            assert_eq!(name(version), shown);
        }
    }

    #[test]
    fn codes_and_names_round_trip() {
        for (language, name) in ALL {
            assert_eq!(Language::from_code(language.code()), language);
            assert_eq!(Language::from_name(name), language);
            assert_eq!(Language::from_name(&name.to_lowercase()), language);
            assert_eq!(language.name(), name);
        }
        assert_eq!(Language::from_code(200), Language::Other);
        assert_eq!(Language::from_name("COBOL"), Language::Other);
    }
}
