//! What a name server promises, on every Env. `data` is an empty directory.

use std::cell::RefCell;
use std::path::PathBuf;

use ringmq_io::{Class, Env, Net, Sharing};
use ringmq_namesrv::{NamesrvConfig, StartError};
use ringmq_wire::json_dialect::{ClusterInfo, TopicList, TopicRouteData, read};

use super::*;

fn golden(file: &str) -> Vec<u8> {
    let path = format!("{}/../net/wire/tests/golden/{file}.bin", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Captured requests of Apache's broker and of the official clients get Apache's answers, byte for byte.
pub async fn captured_requests_get_the_captured_answers<E: Env>(env: E, data: PathBuf) {
    let running = Running::start(&env, &data, "").await;
    let broker = running.client();
    for (request, answer) in [
        ("001_103_register_broker_req_broker", "001_103_register_broker_resp_broker"),
        ("005_106_get_broker_cluster_info_req_java", "005_106_get_broker_cluster_info_resp_java"),
        ("037_105_get_routeinfo_by_topic_req_go", "037_105_get_routeinfo_by_topic_resp_go"),
        ("004_103_register_broker_req_java", "004_103_register_broker_resp_java"),
    ] {
        let got = broker.replay(&golden(request)).await;
        assert_eq!(shown(got.raw()), shown(&golden(answer)), "{request}");
    }
    // A topic that was made between these two: its queues come by request 217 here.
    let route = r#"{"queueDatas":[{"brokerName":"broker-a","perm":6,"readQueueNums":1,"topicSysFlag":0,"writeQueueNums":1}]}"#;
    let request = golden("008_105_get_routeinfo_by_topic_req_java");
    let frame = OwnedFrame::parse(&*request).unwrap();
    let topic = frame.command().ext.get("topic").unwrap().to_owned();
    broker.ask(217, &[("topic", &topic)], route.as_bytes()).await.ok();
    let got = broker.replay(&request).await;
    assert_eq!(shown(got.raw()), shown(&golden("008_105_get_routeinfo_by_topic_resp_java")));
    let unknown = broker.replay(&golden("007_105_get_routeinfo_by_topic_req_java")).await;
    assert_eq!(unknown.command().code, 17);
    // With binary headers, too.
    let registered = broker.replay(&golden("044_103_register_broker_req_broker-binary")).await;
    assert_eq!(registered.command().code, 0);
    let unknown = broker.replay(&golden("045_105_get_routeinfo_by_topic_req_java-binary")).await;
    assert_eq!(unknown.command().code, 17);
    running.stop().await;
}

pub async fn brokers_come_and_go_with_their_connections<E: Env>(env: E, data: PathBuf) {
    let running = Running::start(&env, &data, "").await;
    let (master, slave, client) = (running.client(), running.client(), running.client());
    assert_eq!(client.route("t").await.code(), 17);
    master.register(&Broker::default(), &["t", "u"]).await.ok();
    let second = Broker { addr: "10.0.0.2:10911", id: 1, ..Broker::default() };
    let learnt = slave.register(&second, &["t", "u"]).await.ok();
    assert_eq!(learnt.ext("masterAddr").as_deref(), Some("10.0.0.1:10911"));
    assert_eq!(learnt.ext("haServerAddr").as_deref(), Some("ha:1"));
    let route: TopicRouteData = read(client.route("t").await.ok().text().as_bytes()).unwrap();
    assert_eq!(route.broker_datas[0].broker_addrs.len(), 2);
    let legacy = client.ask_as(317, 105, &[("topic", "t")], &[]).await.ok().text();
    assert!(legacy.contains(r#"{0:"10.0.0.1:10911",1:"10.0.0.2:10911"}"#), "{legacy}");
    let ext = [("topic", "t"), ("acceptStandardJsonOnly", "true")];
    let standard = client.ask_as(317, 105, &ext, &[]).await.ok().text();
    assert!(standard.contains(r#"{"0":"10.0.0.1:10911","1":"10.0.0.2:10911"}"#), "{standard}");

    drop(master);
    let gone = async || !client.route("t").await.text().contains("10.0.0.1");
    until(&env, "the master's connection is noticed as lost", gone).await;
    assert!(client.route("t").await.ok().text().contains("10.0.0.2"));
    // 104 takes the last one.
    let ext = [("brokerName", "b"), ("brokerAddr", second.addr), ("clusterName", "c"), ("brokerId", "1")];
    slave.ask(104, &ext, &[]).await.ok();
    assert_eq!(client.route("t").await.code(), 17);
    let info: ClusterInfo = read(client.ask(106, &[], &[]).await.ok().text().as_bytes()).unwrap();
    assert_eq!(info, ClusterInfo::default());
    running.stop().await;
}

/// `patience_ms`: how long a broker may be silent; the scan comes every tenth of it.
pub async fn silent_brokers_are_forgotten<E: Env>(env: E, data: PathBuf, patience_ms: u64) {
    let scan = format!("scanNotActiveBrokerInterval={}", patience_ms / 10);
    let running = Running::start(&env, &data, &scan).await;
    let (silent, beating, client) = (running.client(), running.client(), running.client());
    silent.register(&Broker { patience_ms, ..Broker::default() }, &["t", "u"]).await.ok();
    let beats = Broker { name: "beats", addr: "10.0.0.3:1", patience_ms, ..Broker::default() };
    beating.register(&beats, &["t", "v"]).await.ok();
    let asks = Broker { name: "asks", addr: "10.0.0.4:1", patience_ms, ..Broker::default() };
    beating.register(&asks, &["t", "w"]).await.ok();
    for _ in 0..30 {
        env.sleep(Duration::from_millis(patience_ms / 10)).await;
        let ext = [("clusterName", "c"), ("brokerAddr", beats.addr), ("brokerName", beats.name)];
        beating.ask(904, &ext, &[]).await.ok();
        let ext =
            [("clusterName", "c"), ("brokerAddr", asks.addr), ("brokerName", "asks"), ("brokerId", "0")];
        let version = r#"{"counter":1,"stateVersion":0,"timestamp":5}"#;
        let same = beating.ask(322, &ext, version.as_bytes()).await.ok();
        assert_eq!((same.ext("changed").as_deref(), same.text().as_str()), (Some("false"), version));
        let other = beating.ask(322, &ext, br#"{"counter":2}"#).await.ok();
        assert_eq!(other.ext("changed").as_deref(), Some("true"));
    }
    let route = client.route("t").await.ok().text();
    assert!(
        !route.contains("10.0.0.1:") && route.contains("10.0.0.3:") && route.contains("10.0.0.4:"),
        "{route}"
    );
    assert_eq!(client.route("u").await.code(), 17);
    assert!(!silent.0.is_connected(), "a silent broker's connection is closed");
    running.stop().await;
}

pub async fn bad_requests_are_refused_with_a_reason<E: Env>(env: E, data: PathBuf) {
    let running = Running::start(&env, &data, "").await;
    let client = running.client();
    let broker = Broker::default();
    let refused = |answer: Answer| (answer.code(), answer.remark());
    assert_eq!(refused(client.ask(10, &[], b"x").await), (3, " request type 10 not supported".into()));
    assert_eq!(running.handle.unsupported_requests(), 1);
    assert_eq!(refused(client.ask(105, &[], &[]).await), (1, "header field topic: missing".into()));
    let ext = [("brokerName", "b"), ("brokerAddr", "x:1"), ("clusterName", "c"), ("brokerId", "zero")];
    let answer = refused(client.ask(104, &ext, &[]).await);
    assert_eq!(answer, (1, "header field brokerId: \"zero\" is not an integer of 64 bits".into()));
    let ext = [&ext[..3], &[("brokerId", "0"), ("bodyCrc32", "7")]].concat();
    assert_eq!(refused(client.ask(103, &ext, b"{}").await), (1, "crc32 not match".into()));
    let (code, remark) =
        refused(client.register_body(&broker, b"{\"topicConfigSerializeWrapper\":", false).await);
    assert!(code == 1 && remark.starts_with("JSON body, byte "), "{remark}");
    let (code, remark) = refused(client.register_body(&broker, b"no zlib", true).await);
    assert!(code == 1 && remark.contains("cannot inflate"), "{remark}");
    assert_eq!(refused(client.register(&broker, &["single"]).await), (1, "register broker failed".into()));
    assert_eq!(refused(client.ask(101, &[("namespace", "n"), ("key", "k")], &[]).await).0, 22);
    assert_eq!(refused(client.ask(219, &[("namespace", "n")], &[]).await).0, 22);
    assert_eq!(refused(client.ask(100, &[("key", "k")], &[]).await), (1, "namespace or key is null".into()));
    // A compressed body is as good as a plain one.
    let body = broker.body(&["t", "u"]).encode_compressed();
    client.register_body(&broker, &body, true).await.ok();
    assert!(client.route("u").await.ok().text().contains(broker.addr));
    running.stop().await;
}

/// More lists at a time than are made at a time, each in several parts, while another topic comes.
pub async fn long_lists_are_told_whole<E: Env>(env: E, data: PathBuf) {
    let running = Running::start(&env, &data, "").await;
    let names: Vec<String> = (0..3000).map(|n| format!("topic-{n:04}")).collect();
    let broker = running.client();
    broker.register(&Broker::default(), &names.iter().map(String::as_str).collect::<Vec<_>>()).await.ok();
    let told: Rc<RefCell<Vec<Vec<String>>>> = Rc::default();
    for n in 0..10 {
        let (told, client) = (told.clone(), running.client());
        env.spawn(Class::Background, async move {
            let (code, ext) = if n % 2 == 0 { (206, &[][..]) } else { (224, &[("cluster", "c")][..]) };
            let list: TopicList = read(client.ask(code, ext, &[]).await.ok().text().as_bytes()).unwrap();
            told.borrow_mut().push(list.topic_list);
        });
    }
    let queues = r#"{"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":2,"topicSysFlag":0,"writeQueueNums":2}]}"#;
    broker.ask(217, &[("topic", "topic-1500-and-a-half")], queues.as_bytes()).await.ok();
    until(&env, "all lists are told", async || told.borrow().len() == 10).await;
    for list in told.borrow().iter() {
        assert!(list.is_sorted());
        assert!(list.iter().filter(|name| *name != "topic-1500-and-a-half").eq(&names));
    }
    running.stop().await;
}

pub async fn topics_and_permissions_are_administered<E: Env>(env: E, data: PathBuf) {
    let running = Running::start(&env, &data, "").await;
    let client = running.client();
    client.register(&Broker::default(), &["t", "u"]).await.ok();
    let topics = |answer: Answer| -> TopicList { read(answer.ok().text().as_bytes()).unwrap() };
    assert_eq!(topics(client.ask(206, &[], &[]).await).topic_list, ["t", "u"]);
    assert_eq!(topics(client.ask(224, &[("cluster", "c")], &[]).await).topic_list, ["t", "u"]);
    assert!(topics(client.ask(224, &[("cluster", "d")], &[]).await).topic_list.is_empty());
    let system = topics(client.ask(304, &[], &[]).await);
    assert_eq!(
        (system.topic_list, system.broker_addr.as_deref()),
        (vec!["b".into(), "c".into()], Some("10.0.0.1:10911"))
    );
    let queues = r#"{"queueDatas":[{"brokerName":"b","perm":6,"readQueueNums":2,"topicSysFlag":2,"writeQueueNums":2}]}"#;
    client.ask(217, &[("topic", "unit")], queues.as_bytes()).await.ok();
    assert!(topics(client.ask(311, &[], &[]).await).topic_list.is_empty());
    assert_eq!(topics(client.ask(312, &[], &[]).await).topic_list, ["unit"]);
    assert_eq!(topics(client.ask(313, &[], &[]).await).topic_list, ["unit"]);

    let wiped = client.ask(205, &[("brokerName", "b")], &[]).await.ok();
    assert_eq!(wiped.ext("wipeTopicCount").as_deref(), Some("3"));
    assert!(client.route("t").await.text().contains(r#""perm":4"#));
    let added = client.ask(327, &[("brokerName", "b")], &[]).await.ok();
    assert_eq!(added.ext("addTopicCount").as_deref(), Some("3"));
    assert!(client.route("t").await.text().contains(r#""perm":6"#));
    assert_eq!(
        client.ask(205, &[("brokerName", "x")], &[]).await.ok().ext("wipeTopicCount").as_deref(),
        Some("0")
    );

    client.ask(216, &[("topic", "t"), ("clusterName", "elsewhere")], &[]).await.ok();
    client.route("t").await.ok();
    client.ask(216, &[("topic", "t"), ("clusterName", "c")], &[]).await.ok();
    assert_eq!(client.route("t").await.code(), 17);
    client.ask(216, &[("topic", "u")], &[]).await.ok();
    assert_eq!(client.route("u").await.code(), 17);
    let group = client.ask(901, &[("clusterName", "c"), ("brokerName", "b")], &[]).await.ok().text();
    assert_eq!(
        group,
        r#"{"brokerMemberGroup":{"brokerAddrs":{0:"10.0.0.1:10911"},"brokerName":"b","cluster":"c"}}"#
    );
    let ext = [("topic", "unit"), ("__ZONE_MODE", "true"), ("__ZONE_NAME", "other")];
    let route: TopicRouteData = read(client.ask(105, &ext, &[]).await.ok().text().as_bytes()).unwrap();
    assert!(route.broker_datas.is_empty() && route.queue_datas.is_empty());
    let ext = [("topic", "unit"), ("__ZONE_MODE", "true"), ("__ZONE_NAME", "Z")];
    assert!(client.ask(105, &ext, &[]).await.ok().text().contains("10.0.0.1"));
    running.stop().await;
}

pub async fn kv_configuration_outlives_a_restart<E: Env>(env: E, data: PathBuf) {
    let running = Running::start(&env, &data, "orderMessageEnable=true").await;
    let client = running.client();
    const NAMESPACE: &str = "ORDER_TOPIC_CONFIG";
    let put = async |key: &str, value: &str| {
        client.ask(100, &[("namespace", NAMESPACE), ("key", key), ("value", value)], &[]).await
    };
    put("t", "b:4;c:4").await.ok();
    put("ü", "\"\u{1}\n").await.ok();
    put("gone", "x").await.ok();
    client.ask(102, &[("namespace", NAMESPACE), ("key", "gone")], &[]).await.ok();
    client.ask(102, &[("namespace", "never"), ("key", "was")], &[]).await.ok();
    let too_large = "x".repeat(ringmq_io::limits::NAMESRV_KV_BYTES_MAX);
    let full = put("large", &too_large).await;
    assert!(full.code() == 1 && full.remark().starts_with("KV configuration is full: "), "{}", full.remark());
    // A registration is answered with the order topics, a route carries its own.
    let table = client.register(&Broker::default(), &["t", "u"]).await.ok().text();
    assert!(table.starts_with(r#"{"table":{"t":"b:4;c:4","#), "{table}");
    assert!(client.route("t").await.ok().text().contains(r#""orderTopicConf":"b:4;c:4""#));
    assert!(!client.route("u").await.ok().text().contains("orderTopicConf"));
    running.stop().await;

    let running = Running::start(&env, &data, "").await;
    let client = running.client();
    let get = async |key: &str| client.ask(101, &[("namespace", NAMESPACE), ("key", key)], &[]).await;
    assert_eq!(get("t").await.ok().ext("value").as_deref(), Some("b:4;c:4"));
    assert_eq!(get("ü").await.ok().ext("value").as_deref(), Some("\"\u{1}\n"));
    assert_eq!(get("gone").await.code(), 22);
    assert_eq!(client.ask(219, &[("namespace", NAMESPACE)], &[]).await.ok().text(), table);
    running.stop().await;
}

pub async fn settings_change_at_run_time_and_stay<E: Env>(env: E, data: PathBuf) {
    let running = Running::start(&env, &data, "needWaitForService=true\nwaitSecondsForService=86400").await;
    let client = running.client();
    client.register(&Broker::default(), &["t", "u"]).await.ok();
    let waits = client.route("t").await;
    assert_eq!((waits.code(), waits.remark().as_str()), (1, "name server not ready"));
    let change = async |text: &str| client.ask(318, &[], text.as_bytes()).await;
    let answer = change("needWaitForService=false\nserverWorkerThreads=3\nlistenPort=1\n").await.ok();
    let expected = "without effect: serverWorkerThreads (there are no thread pools: one core does it all), \
                    listenPort (only read at start)";
    assert_eq!(answer.remark(), expected);
    client.route("t").await.ok();
    let answer = change("enableTopicList=maybe\nenableAllTopicList=false").await;
    assert_eq!(
        (answer.code(), answer.remark().as_str()),
        (1, "line 1: enableTopicList=maybe: needs true or false")
    );
    client.ask(206, &[], &[]).await.ok();
    for key in ["kvConfigPath", "configStorePath", "configBlackList", "rocketmqHome"] {
        let answer = change(&format!("{key}=/x")).await;
        assert_eq!((answer.code(), answer.remark().as_str()), (16, "Can not update config in black list."));
    }
    change("enableAllTopicList=false").await.ok();
    change("enableTopicList=false").await.ok();
    for (code, ext) in [(206, &[][..]), (224, &[("cluster", "c")]), (311, &[]), (312, &[]), (313, &[])] {
        let answer = client.ask(code, ext, &[]).await;
        assert_eq!((answer.code(), answer.remark().as_str()), (1, "disable"), "{code}");
    }
    client.ask(304, &[], &[]).await.ok();
    let shown = client.ask(319, &[], &[]).await.ok().text();
    for line in
        ["enableAllTopicList=false\n", "needWaitForService=false\n", "scanNotActiveBrokerInterval=5000\n"]
    {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(!shown.contains("Path=") && !shown.contains(&*data.to_string_lossy()), "{shown}");
    running.stop().await;
    let running = Running::start(&env, &data, "needWaitForService=true").await;
    assert_eq!(
        running.client().ask(319, &[], &[]).await.ok().text().replace("86400", "45"),
        shown.replace("86400", "45")
    );
    running.stop().await;
}

pub async fn a_taken_port_is_named<E: Env>(env: E, data: PathBuf) {
    let taken = env.net().listen("127.0.0.1:0".parse().unwrap(), Sharing::Alone).unwrap();
    let addr = ringmq_io::Listener::local_addr(&taken);
    let result = start(&env, NamesrvConfig::new(data), addr, Stop::new()).await;
    let Err(StartError::Listen { .. }) = &result else { panic!("listens on a taken port") };
    let message = result.err().unwrap().to_string();
    let expected = format!("name server cannot listen on {addr}: port {} is in use", addr.port());
    assert!(message.starts_with(&expected), "{message}");
}
