use std::time::Duration;

use proptest::prelude::*;
use ringmq_wire::json_dialect::{DataVersion, Dialect, QueueData, TopicConfig, TopicConfigTable, perm};

use super::register::Registered;
use super::{Registration, RegistrationError, RouteTable, TopicFlag, Which, filter_by_zone};

const SECOND: u64 = 1_000_000_000;

fn topics(version: i64, names: &[&str]) -> TopicConfigTable {
    let config = |name: &&str| {
        let config = TopicConfig { topic_name: name.to_string(), ..TopicConfig::default() };
        (name.to_string(), config)
    };
    TopicConfigTable {
        data_version: DataVersion { counter: version, state_version: 0, timestamp: 1 },
        topic_config_table: names.iter().map(config).collect(),
        ..TopicConfigTable::default()
    }
}

fn broker<'a>(name: &'a str, id: i64, addr: &'a str, topics: &'a TopicConfigTable) -> Registration<'a> {
    Registration {
        cluster: "c",
        addr,
        name,
        id,
        ha_addr: "ha:1",
        zone: None,
        patience: None,
        acting_master: Some(false),
        topics,
        filter_servers: Vec::new(),
        conn: 1,
        now_ns: 0,
    }
}

fn register(table: &mut RouteTable, new: Registration<'_>) -> Registered {
    let registered = table.register(new, false).unwrap();
    table.check();
    registered
}

fn text(table: &RouteTable, topic: &str) -> Option<String> {
    table.route_text(topic, Dialect::Legacy, false).map(|text| String::from_utf8(text.to_vec()).unwrap())
}

/// A list, walked in the smallest steps.
fn names(table: &RouteTable, which: &Which) -> Vec<String> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (some, next) = table.some_topics(which, after.as_deref(), 1);
        assert!(some.len() <= 1);
        all.extend(some.iter().map(|name| name.to_string()));
        after = next;
        if after.is_none() {
            return all;
        }
    }
}

#[test]
fn a_route_shows_master_and_slave_and_a_slave_learns_its_master() {
    let mut table = RouteTable::default();
    let both = topics(1, &["t", "u"]);
    assert_eq!(register(&mut table, broker("b", 0, "m:1", &both)), Registered::default());
    let learnt = register(&mut table, broker("b", 1, "s:1", &topics(1, &["t", "v"])));
    assert_eq!(learnt.master_addr.as_deref(), Some("m:1"));
    assert_eq!(learnt.master_ha_addr.as_deref(), Some("ha:1"));
    let expected = concat!(
        r#"{"brokerDatas":[{"brokerAddrs":{0:"m:1",1:"s:1"},"brokerName":"b","cluster":"c","#,
        r#""enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,"#,
        r#""readQueueNums":16,"topicSysFlag":0,"writeQueueNums":16}]}"#
    );
    assert_eq!(text(&table, "t").as_deref(), Some(expected));
    // Topics are the master's, not the slave's.
    assert_eq!(text(&table, "v"), None);
    assert_eq!(names(&table, &Which::All), ["t", "u"]);
    assert_eq!(table.member_group("c", "b").broker_addrs.len(), 2);
    assert_eq!(table.system_topics().topic_list, ["b", "c"]);
    assert_eq!(table.system_topics().broker_addr.as_deref(), Some("m:1"));
}

#[test]
fn the_cached_text_follows_every_change() {
    let mut table = RouteTable::default();
    register(&mut table, broker("b", 0, "m:1", &topics(1, &["t", "u"])));
    let first = text(&table, "t").unwrap();
    assert_eq!(text(&table, "t").unwrap(), first);
    register(&mut table, broker("b", 1, "s:1", &topics(1, &["t", "u"])));
    assert!(text(&table, "t").unwrap().contains("s:1"));
    table.unregister("c", "s:1", "b");
    assert_eq!(text(&table, "t").unwrap(), first);
    assert_eq!(table.wipe_write_perm("b"), 2);
    assert!(text(&table, "t").unwrap().contains(r#""perm":4"#));
    assert_eq!(table.add_write_perm("b"), 2);
    assert_eq!(text(&table, "t").unwrap(), first);
    let same = topics(1, &["t", "u"]);
    let filtering = Registration { filter_servers: vec!["f:1".into()], ..broker("b", 0, "m:1", &same) };
    register(&mut table, filtering);
    assert!(text(&table, "t").unwrap().contains(r#""filterServerTable":{"m:1":["f:1"]}"#));
}

#[test]
fn an_unchanged_version_changes_nothing_but_adds_what_is_missing() {
    let mut table = RouteTable::default();
    register(&mut table, broker("b", 0, "m:1", &topics(1, &["t", "u"])));
    table.wipe_write_perm("b");
    register(&mut table, broker("b", 0, "m:1", &topics(1, &["t", "u", "v"])));
    assert!(text(&table, "t").unwrap().contains(r#""perm":4"#), "same version: the wiped permission stays");
    assert!(text(&table, "v").unwrap().contains(r#""perm":6"#));
    // Any other version counts, an older one too.
    register(&mut table, broker("b", 0, "m:1", &topics(0, &["t", "u"])));
    assert!(text(&table, "t").unwrap().contains(r#""perm":6"#));
    assert!(text(&table, "v").is_some(), "topics that are not named stay");
    table.register(broker("b", 0, "m:1", &topics(2, &["t", "u"])), true).unwrap();
    table.check();
    assert!(text(&table, "v").is_none(), "unless they shall go");
}

/// Two topics are changed at once, and both registrations carry the version after the second change.
#[test]
fn a_change_that_came_with_a_known_version_is_not_lost() {
    let mut table = RouteTable::default();
    register(&mut table, broker("b", 0, "m:1", &topics(1, &["t", "u"])));
    register(&mut table, broker("b", 0, "m:1", &topics(3, &["u"])));
    table.wipe_write_perm("b");
    let mut changed = topics(3, &["t"]);
    changed.topic_config_table.values_mut().for_each(|config| config.read_queue_nums = 5);
    register(&mut table, broker("b", 0, "m:1", &changed));
    assert!(text(&table, "t").unwrap().contains(r#""perm":6,"readQueueNums":5"#));
    // Saying it again changes nothing.
    table.wipe_write_perm("b");
    register(&mut table, broker("b", 0, "m:1", &changed));
    assert!(text(&table, "t").unwrap().contains(r#""perm":4,"readQueueNums":5"#));
}

#[test]
fn a_single_topic_cannot_come_first() {
    let mut table = RouteTable::default();
    let result = table.register(broker("b", 0, "m:1", &topics(1, &["t"])), false);
    assert_eq!(result, Err(RegistrationError::SingleTopicFirst));
    table.check();
    assert!(table.cluster_info().broker_addr_table.is_empty());
    register(&mut table, broker("b", 0, "m:1", &topics(1, &[])));
    register(&mut table, broker("b", 0, "m:1", &topics(2, &["t"])));
    assert!(text(&table, "t").is_some());
}

#[test]
fn one_address_has_one_id_and_the_newer_state_keeps_an_id() {
    let mut table = RouteTable::default();
    let both = topics(1, &["t", "u"]);
    register(&mut table, broker("b", 1, "x:1", &both));
    register(&mut table, broker("b", 0, "x:1", &both)); // became the master
    assert_eq!(table.member_group("c", "b").broker_addrs, [(0, "x:1".to_owned())].into());
    let newer = TopicConfigTable {
        data_version: DataVersion { counter: 1, state_version: 5, timestamp: 1 },
        ..topics(1, &["t", "u"])
    };
    register(&mut table, broker("b", 0, "y:1", &newer));
    assert_eq!(table.member_group("c", "b").broker_addrs, [(0, "y:1".to_owned())].into());
    register(&mut table, broker("b", 0, "x:1", &both)); // an old state: ignored
    assert_eq!(table.member_group("c", "b").broker_addrs, [(0, "y:1".to_owned())].into());
    assert_eq!(table.touch("c", "x:1", 1), None);
    assert_eq!(table.touch("c", "y:1", 1).unwrap().state_version, 5);
}

#[test]
fn brokers_go_with_their_connection_or_after_silence() {
    let mut table = RouteTable::default();
    let both = topics(1, &["t", "u"]);
    register(&mut table, broker("a", 0, "a:1", &both));
    register(&mut table, Registration { conn: 2, ..broker("b", 0, "b:1", &both) });
    register(&mut table, Registration { conn: 2, ..broker("b", 1, "b:2", &both) });
    assert_eq!(table.connection_lost(2), 2);
    table.check();
    assert!(!text(&table, "t").unwrap().contains("b:1"));
    assert_eq!(table.connection_lost(2), 0);

    // Back over a new connection; the old one's end is noticed late and means nothing any more.
    register(&mut table, Registration { conn: 3, ..broker("b", 0, "b:1", &both) });
    assert_eq!(table.connection_lost(2), 0);
    let short = Some(Duration::from_secs(10));
    register(
        &mut table,
        Registration { conn: 3, patience: short, now_ns: SECOND, ..broker("b", 0, "b:1", &both) },
    );
    assert!(table.expire(11 * SECOND).is_empty());
    assert_eq!(table.expire(11 * SECOND + 1), [3]);
    table.check();
    table.touch("c", "a:1", SECOND);
    assert!(table.expire(121 * SECOND).is_empty());
    assert_eq!(table.expire(122 * SECOND), [1]);
    table.check();
    assert!(table.cluster_info().cluster_addr_table.is_empty() && names(&table, &Which::All).is_empty());
}

#[test]
fn a_prime_slave_acts_for_a_lost_master_read_only() {
    let mut table = RouteTable::default();
    let both = topics(1, &["t", "u"]);
    let acting = Some(true);
    register(&mut table, Registration { acting_master: acting, ..broker("b", 0, "m:1", &both) });
    register(&mut table, Registration { acting_master: acting, ..broker("b", 2, "s:2", &both) });
    register(&mut table, Registration { acting_master: acting, ..broker("b", 1, "s:1", &both) });
    table.unregister("c", "m:1", "b");
    table.check();
    let plain = table.route("t", false).unwrap();
    assert!(!plain.broker_datas[0].broker_addrs.contains_key(&0));
    assert_eq!(plain.queue_datas[0].perm, perm::READ);
    let acted = table.route("t", true).unwrap();
    assert_eq!(acted.broker_datas[0].broker_addrs, [(0, "s:1".to_owned()), (2, "s:2".to_owned())].into());
    // The acting master's own topics come without the write permission.
    let more = topics(2, &["t", "u", "w"]);
    register(&mut table, Registration { acting_master: acting, ..broker("b", 1, "s:1", &more) });
    assert_eq!(table.route("w", true).unwrap().queue_datas[0].perm, perm::READ);
}

#[test]
fn topics_are_deleted_everywhere_or_in_a_cluster() {
    let mut table = RouteTable::default();
    let both = topics(1, &["t", "u"]);
    register(&mut table, broker("a", 0, "a:1", &both));
    register(&mut table, Registration { cluster: "d", conn: 2, ..broker("b", 0, "b:1", &both) });
    assert_eq!(names(&table, &Which::OfCluster("d".into())), ["t", "u"]);
    assert!(names(&table, &Which::OfCluster("nowhere".into())).is_empty());
    table.delete_topic("t", Some("d"));
    table.check();
    assert_eq!(table.route("t", false).unwrap().broker_datas.len(), 1);
    table.delete_topic("t", Some("nowhere"));
    assert!(table.route("t", false).is_some());
    table.delete_topic("t", None);
    table.check();
    assert!(table.route("t", false).is_none() && table.route("u", false).is_some());
}

#[test]
fn a_single_topic_is_registered_on_known_brokers_only() {
    let mut table = RouteTable::default();
    register(&mut table, broker("a", 0, "a:1", &topics(1, &["t", "u"])));
    let queues =
        |name: &str| QueueData { broker_name: name.into(), topic_sys_flag: 3, ..QueueData::default() };
    table.register_topic("w", &[queues("a"), queues("stranger")]).unwrap();
    assert!(table.route("w", false).is_none());
    table.register_topic("w", &[queues("a")]).unwrap();
    table.check();
    assert_eq!(names(&table, &Which::With(TopicFlag::Unit)), ["w"]);
    assert_eq!(names(&table, &Which::With(TopicFlag::UnitSub)), ["w"]);
    assert!(names(&table, &Which::With(TopicFlag::UnitSubWithoutUnit)).is_empty());
}

#[test]
fn a_zone_sees_its_own_brokers_and_those_without_a_master() {
    let mut table = RouteTable::default();
    let both = topics(1, &["t", "u"]);
    register(&mut table, Registration { zone: Some("Z1"), ..broker("a", 0, "a:1", &both) });
    register(&mut table, Registration { zone: Some("z2"), ..broker("b", 0, "b:1", &both) });
    register(&mut table, Registration { zone: Some("z2"), ..broker("d", 0, "d:1", &both) });
    register(&mut table, Registration { zone: Some("z2"), ..broker("d", 1, "d:2", &both) });
    table.unregister("c", "d:1", "d");
    let mut route = table.route("t", false).unwrap();
    filter_by_zone(&mut route, "z1");
    let names = |route: &ringmq_wire::json_dialect::TopicRouteData| {
        let brokers: Vec<_> = route.broker_datas.iter().map(|b| b.broker_name.clone()).collect();
        let queues: Vec<_> = route.queue_datas.iter().map(|q| q.broker_name.clone()).collect();
        (brokers, queues)
    };
    let expected: Vec<String> = vec!["a".into(), "d".into()];
    assert_eq!(names(&route), (expected.clone(), expected));
}

proptest! {
    /// Whatever order brokers come and go in, the parts of the table agree, and at the end nothing is left.
    #[test]
    fn the_parts_agree(steps in proptest::collection::vec((0..6u8, 0..3i64, 0..3usize, 0..4usize), 1..60)) {
        let mut table = RouteTable::default();
        let names = ["a", "b", "c"];
        let addrs = ["x:1", "y:1", "z:1", "w:1"];
        let sets = [topics(1, &["t", "u"]), topics(2, &["u", "v", "w"]), topics(3, &["t"]), topics(4, &[])];
        for (step, id, name, other) in steps {
            match step {
                0 | 1 => {
                    let conn = other as u64;
                    let acting_master = (other == 0).then_some(step == 1);
                    let new = broker(names[name], id, addrs[other], &sets[(other + name) % 4]);
                    let new = Registration { conn, acting_master, ..new };
                    let _ = table.register(new, step == 1);
                }
                2 => table.unregister("c", addrs[other], names[name]),
                3 => { table.connection_lost(other as u64); }
                4 => table.delete_topic(["t", "u", "v", "w"][other], None),
                _ => { table.wipe_write_perm(names[name]); }
            }
            table.check();
        }
        for conn in 0..4 {
            table.connection_lost(conn);
        }
        table.check();
    }
}
