use super::*;
use proptest::prelude::*;

fn host() -> HostFacts {
    HostFacts { host_name: "box".into(), address: IpAddr::from([10, 1, 2, 3]), data: "/srv/data".into() }
}

#[test]
fn reads_what_apache_ships_as_broker_conf() {
    let text = "brokerClusterName = DefaultCluster\nbrokerName = broker-a\nbrokerId = 0\ndeleteWhen = 04\n\
                fileReservedTime = 48\nbrokerRole = ASYNC_MASTER\nflushDiskType = ASYNC_FLUSH\n";
    let (config, warnings) = BrokerConfig::parse(text, &host()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(config.broker_name, "broker-a");
    assert_eq!(config.file_reserved_time, 48);
    assert_eq!(config.delete_when, Hours(vec![4]));
    let (dotted, _) = BrokerConfig::parse("brokerName=mq1.example.org", &host()).unwrap();
    assert_eq!(dotted.broker_name, "mq1.example.org");
    assert_eq!(config.listen_port, 10911);
    assert_eq!(config.server_channel_max_idle_secs, 120);
    assert_eq!(config.broker_ip1, IpAddr::from([10, 1, 2, 3]));
    assert_eq!(config.store_path_root_dir, PathBuf::from("/srv/data"));
}

#[test]
fn a_key_without_effect_is_named() {
    let text = "# pools\nsendMessageThreadPoolNums=16\nbrokerRole=SYNC_MASTER\n";
    let (config, warnings) = BrokerConfig::parse(text, &host()).unwrap();
    assert_eq!(config.broker_role, BrokerRole::SyncMaster);
    let shown: Vec<_> = warnings.iter().map(|w| w.to_string()).collect();
    assert_eq!(shown.len(), 2);
    assert!(shown[0].starts_with("line 2: sendMessageThreadPoolNums=16 has no effect"), "{}", shown[0]);
    assert!(shown[1].starts_with("line 3: brokerRole=SYNC_MASTER has no effect"), "{}", shown[1]);
}

#[test]
fn a_bad_value_names_key_value_and_line() {
    let error = BrokerConfig::parse("\nlistenPort=many", &host()).unwrap_err();
    assert_eq!(error.to_string(), "line 2: listenPort=many: expected a whole number, 0 to 65535");
    for bad in [
        "flushDiskType=NEVER",
        "deleteWhen=24",
        "diskMaxUsedSpaceRatio=0",
        "maxMessageSize=16777216",
        "brokerName=a b",
        "autoCreateTopicEnable=yes",
        "brokerPermission=8",
        "advertisedAddresses=a:1",
        "advertisedAddresses=a:1=host",
        "advertisedAddresses=a:1=host:0",
        "advertisedAddresses==host:1",
    ] {
        let error = BrokerConfig::parse(bad, &host()).unwrap_err();
        assert!(matches!(error, ConfigError::Value { line: 1, .. }), "{bad}: {error}");
        assert!(error.to_string().contains(bad), "{bad}: {error}");
    }
}

#[test]
fn what_we_cannot_do_is_refused_not_ignored() {
    for (key, value, _) in REFUSED {
        let error = BrokerConfig::parse(&format!("{key}={value}"), &host()).unwrap_err();
        assert!(matches!(error, ConfigError::Refused { .. }), "{key}: {error}");
    }
    let (_, warnings) = BrokerConfig::parse("aclEnable=false", &host()).unwrap();
    assert_eq!(warnings.len(), 1);
}

#[test]
fn the_properties_text_reads_back_to_the_same_configuration() {
    let text = "namesrvAddr=a:1;b:2 ; a:1\nshards=4\ndeleteWhen=04;16\nringDir=/dev/shm/x\n\
                advertisedPort=20911\nadvertisedAddresses=b:2=mq.example.org:30911;a:1=10.9.9.9:1";
    let (config, _) = BrokerConfig::parse(text, &host()).unwrap();
    assert_eq!(config.name_servers(), ["a:1", "b:2"]);
    let shown = config.properties_text();
    assert_eq!(shown.lines().count(), KEYS.len());
    let (again, warnings) = BrokerConfig::parse(&shown, &host()).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(again, config);
}

#[test]
fn the_exporter_is_on_unless_it_is_switched_off() {
    let parse = |text: &str| BrokerConfig::parse(text, &host()).unwrap();
    let (config, _) = parse("");
    assert!(config.metrics_exporter_type.is_on());
    assert!(matches!(config.metrics_prom_exporter_port, ExporterPort::Default));
    let (config, warnings) = parse("metricsExporterType=DISABLE\nmetricsPromExporterPort=5557\n");
    assert!(!config.metrics_exporter_type.is_on() && warnings.is_empty());
    assert!(matches!(config.metrics_prom_exporter_port, ExporterPort::Chosen(5557)));
    let (config, warnings) = parse("metricsExporterType=OTLP_GRPC\nmetricsPromExporterHost=10.0.0.1\n");
    assert!(config.metrics_exporter_type.is_on());
    assert_eq!(config.metrics_prom_exporter_host, OptionalIp(Some(IpAddr::from([10, 0, 0, 1]))));
    assert_eq!(warnings.len(), 1);
    assert!(BrokerConfig::parse("metricsPromExporterHost=here", &host()).is_err());
}

proptest! {
    /// Known keys with values that nobody means, and lines that are none: read, warned of or refused with the line.
    #[test]
    fn any_configuration_is_read_or_refused_by_its_line(
        lines in proptest::collection::vec(
            (
                prop_oneof![
                    "brokerName|brokerIP1|deleteWhen|fileReservedTime|diskMaxUsedSpaceRatio|flushDiskType|maxMessageSize",
                    "messageDelayLevel|namesrvAddr|listenPort|brokerRole|ringBytes|segmentBytes|storePathRootDir|shards",
                    "[ -~]{0,12}",
                ],
                prop_oneof!["-?[0-9]{0,22}", "[0-9;:.smhd ]{0,20}", "[ -~ü]{0,20}", "(?s).{0,10}"],
            ),
            0..6,
        ),
    ) {
        let text: String = lines.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        let last = 1 + text.matches(['\n', '\r']).count();
        match BrokerConfig::parse(&text, &host()) {
            Ok((_, warnings)) => prop_assert!(warnings.iter().all(|warning| (1..=last).contains(&warning.line))),
            Err(ConfigError::Value { line, .. } | ConfigError::Refused { line, .. }) => {
                prop_assert!((1..=last).contains(&line), "line {line} of {last}");
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
