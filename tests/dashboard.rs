//! The RocketMQ dashboard, unmodified, on a RingMQ server: each call that its pages make, and whether the facts in the answers are
//! those of what was done before. By hand, since the dashboard is built from its sources: tests/README.md says how.

mod harness;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::process::Process;
use harness::remoting::{Remote, send_header};
use harness::server::{Server, Standalone, fixed_port};
use harness::{scratch, take_turn};
use ringmq_wire::code::{request_code, response_code};
use serde_json::{Value, json};

/// A start of the dashboard took up to a minute on two busy cores.
const START: Duration = Duration::from_secs(180);
/// It collects figures each minute.
const COLLECTED: Duration = Duration::from_secs(200);

struct Dashboard {
    process: Process,
    address: String,
    /// Against forged requests: what it gave us goes back with each.
    token: String,
}

impl Dashboard {
    fn start(jar: &str, server: &Server, dir: &Path) -> Self {
        let port = fixed_port();
        let mut command = Command::new("java");
        command
            .args(["-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            // What it makes sheets with looks into classes of the JDK.
            .arg("--add-opens=java.base/java.lang=ALL-UNNAMED")
            .arg(format!("-Duser.home={}", dir.display()))
            .args(["-jar", jar, "--server.address=127.0.0.1"])
            .arg(format!("--server.port={port}"))
            .arg(format!("--rocketmq.config.namesrvAddrs={}", server.namesrv()))
            .arg(format!("--rocketmq.config.dataPath={}", dir.join("figures").display()));
        let mut process = Process::start("dashboard", &mut command, dir);
        let deadline = Instant::now() + START;
        let address = format!("127.0.0.1:{port}");
        while std::net::TcpStream::connect(&address).is_err() {
            let waits = Instant::now() < deadline && process.is_running();
            assert!(waits, "the dashboard did not start:\n{}", process.log_tail());
            std::thread::sleep(Duration::from_millis(200));
        }
        let mut dashboard = Self { process, address, token: String::new() };
        let (_, head, _) = dashboard.http("GET", "/rocketmq-dashboard/csrf-token", None);
        let token = head.split("XSRF-TOKEN=").nth(1).and_then(|rest| rest.split(';').next());
        dashboard.token = token.unwrap_or_else(|| panic!("no token in {head}")).to_owned();
        dashboard
    }

    /// Status, head and body. HTTP/1.0, so that the end of the connection is that of the answer.
    fn http(&self, method: &str, path: &str, body: Option<&Value>) -> (u16, String, Vec<u8>) {
        use std::io::{Read, Write};
        let body = body.map_or(String::new(), Value::to_string);
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: dashboard\r\nCookie: XSRF-TOKEN={0}\r\nX-XSRF-TOKEN: {0}\r\n\
             Content-Type: application/json\r\nContent-Length: {1}\r\n\r\n{body}",
            self.token,
            body.len()
        );
        let mut stream = std::net::TcpStream::connect(&self.address).expect("connect to the dashboard");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("set a time-out");
        stream.write_all(request.as_bytes()).expect("send a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("a head");
        let text = String::from_utf8_lossy(&answer[..head]).into_owned();
        let status = text.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        (status, text, answer.split_off(head + 4))
    }

    /// What it says of a call that has to succeed.
    fn call(&self, method: &str, path: &str, fields: &[(&str, &str)], body: Option<Value>) -> Value {
        let query: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", escaped(value))).collect();
        let whole = format!("{path}?{}", query.join("&"));
        let (status, _, answer) = self.http(method, &whole, body.as_ref());
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status, 200, "{whole}: {text}\n{}", self.process.log_tail());
        let answer: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{whole}: {text}"));
        assert_eq!(answer["status"], 0, "{whole} {body:?}: {answer}");
        answer["data"].clone()
    }

    fn get(&self, path: &str, fields: &[(&str, &str)]) -> Value {
        self.call("GET", path, fields, None)
    }

    fn post(&self, path: &str, body: Value) -> Value {
        self.call("POST", path, &[], Some(body))
    }

    /// Until the answer is right.
    fn until(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        limit: Duration,
        right: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            let answer = self.get(path, fields);
            if right(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path} {fields:?} goes on saying {answer}");
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

fn escaped(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

fn has(list: &Value, wanted: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|item| item == wanted))
}

/// The sum of a figure over the entries of a map or list.
fn sum(entries: &Value, figure: &str) -> i64 {
    let one = |entry: &Value| entry[figure].as_i64().unwrap_or_else(|| panic!("no {figure} in {entry}"));
    match entries {
        Value::Object(map) => map.values().map(one).sum(),
        Value::Array(list) => list.iter().map(one).sum(),
        other => panic!("neither map nor list: {other}"),
    }
}

#[test]
#[ignore = "needs the dashboard, built from its sources; see tests/README.md"]
fn what_each_page_shows_is_so() {
    let jar = std::env::var("DASHBOARD_JAR").expect("DASHBOARD_JAR: path of rocketmq-dashboard-….jar");
    let _turn = take_turn();
    let dir = scratch();
    // With a port that its neighbours can be told from: the dashboard goes by the VIP channel.
    let mut standalone = Standalone::new(dir.path()).restartable().broker_conf(&["brokerName=broker-a"]);
    let server = standalone.start();
    let dashboard = Dashboard::start(&jar, &server, dir.path());
    servers(&dashboard, &server);
    topics(&dashboard);
    let sent = messages(&dashboard);
    groups(&dashboard);
    let client = consumers(&dashboard, &server);
    dead_letters(&dashboard, &server, &client);
    figures(&dashboard);
    deletions(&dashboard, &sent);
    drop(dashboard);
    server.stop();
}

/// The pages Ops and Cluster.
fn servers(dashboard: &Dashboard, server: &Server) {
    let home = dashboard.get("/ops/homePage.query", &[]);
    assert!(home["useVIPChannel"] == true && home["currentNamesrv"] == server.namesrv(), "{home}");
    dashboard.get("/ops/rocketMqStatus.query", &[]);
    dashboard.get("/proxy/homePage.query", &[]);
    let cluster = dashboard.get("/cluster/list.query", &[]);
    let info = &cluster["clusterInfo"];
    assert_eq!(info["brokerAddrTable"]["broker-a"]["brokerAddrs"]["0"], server.broker(), "{info}");
    assert_eq!(info["clusterAddrTable"]["DefaultCluster"], json!(["broker-a"]));
    let state = &cluster["brokerServer"]["broker-a"]["0"];
    assert!(state["brokerVersionDesc"] == "V5_5_0" && state["brokerActive"] == "true", "{state}");
    assert_eq!(state["msgPutTotalTodayNow"], "0");
    let config = dashboard.get("/cluster/brokerConfig.query", &[("brokerAddr", server.broker())]);
    assert!(server.broker().ends_with(&format!(":{}", config["listenPort"].as_str().expect("a port"))));
}

/// The page Topic, before there are messages.
fn topics(dashboard: &Dashboard) {
    for (topic, queues, kind) in [("dash", 8, "NORMAL"), ("later", 2, "DELAY")] {
        let made = json!({"clusterNameList": ["DefaultCluster"], "brokerNameList": [], "topicName": topic,
            "writeQueueNums": queues, "readQueueNums": queues, "perm": 6, "order": false, "messageType": kind});
        assert_eq!(dashboard.post("/topic/createOrUpdate.do", made), true);
    }
    let list = dashboard.get("/topic/list.query", &[]);
    assert!(has(&list["topicList"], "dash") && has(&list["topicList"], "%SYS%TBW102"), "{list}");
    let types = dashboard.get("/topic/list.queryTopicType", &[]);
    let kind = |topic: &str| {
        let names = types["topicNameList"].as_array().expect("names");
        let at = names.iter().position(|name| name == topic).unwrap_or_else(|| panic!("no {topic}: {types}"));
        types["messageTypeList"][at].clone()
    };
    assert_eq!((kind("dash"), kind("later")), (json!("NORMAL"), json!("DELAY")));
    let config = &dashboard.get("/topic/examineTopicConfig.query", &[("topic", "dash")])[0];
    assert!(config["readQueueNums"] == 8 && config["messageType"] == "NORMAL", "{config}");
    let route = dashboard.get("/topic/route.query", &[("topic", "dash")]);
    assert!(
        route["queueDatas"][0]["writeQueueNums"] == 8 && route["brokerDatas"][0]["brokerName"] == "broker-a"
    );
}

/// Messages that the page Topic sends, on the pages Message and Message Trace. Gives the id of the traced one.
fn messages(dashboard: &Dashboard) -> String {
    let mut traced = String::new();
    for n in 0..5 {
        let message = json!({"topic": "dash", "key": format!("key{n}"), "tag": "A", "messageBody": format!("body {n}"),
            "traceEnabled": n == 4});
        let sent = dashboard.post("/topic/sendTopicMessage.do", message);
        assert_eq!(sent["sendStatus"], "SEND_OK", "{sent}");
        traced = sent["msgId"].as_str().expect("an id").to_owned();
    }
    let stats = dashboard.get("/topic/stats.query", &[("topic", "dash")]);
    assert_eq!(sum(&stats["offsetTable"], "maxOffset"), 5, "{stats}");
    let (begin, end) = (0, 4_000_000_000_000_i64);
    let page = |number: i32, task: &Value| {
        let asked = json!({"pageNum": number, "pageSize": 3, "topic": "dash", "taskId": task, "begin": begin, "end": end});
        let (status, _, answer) =
            dashboard.http("POST", "/message/queryMessagePageByTopic.query", Some(&asked));
        let answer: Value = serde_json::from_slice(&answer).expect("JSON");
        assert_eq!((status, &answer["status"]), (200, &json!(0)), "{answer}");
        let data = &answer["data"];
        (data["page"]["content"].as_array().expect("messages").clone(), data["taskId"].clone())
    };
    let (mut all, task) = page(1, &json!(""));
    all.extend(page(2, &task).0);
    let mut bodies: Vec<_> = all.iter().map(|message| message["messageBody"].as_str().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, ["body 0", "body 1", "body 2", "body 3", "body 4"]);
    let found =
        dashboard.get("/message/queryMessageByTopicAndKey.query", &[("topic", "dash"), ("key", "key3")]);
    assert!(
        found.as_array().is_some_and(|all| all.len() == 1) && found[0]["messageBody"] == "body 3",
        "{found}"
    );
    let by_time = [("topic", "dash"), ("begin", "0"), ("end", "4000000000000")];
    let found = dashboard.get("/message/queryMessageByTopic.query", &by_time);
    assert_eq!(found.as_array().map(Vec::len), Some(5), "{found}");
    let by_id = [("topic", "dash"), ("msgId", traced.as_str())];
    for pages in ["/message/viewMessage.query", "/messageTrace/viewMessage.query"] {
        let found = dashboard.get(pages, &by_id);
        assert_eq!(found["messageView"]["messageBody"], "body 4", "{found}");
    }
    let traced_so = |answer: &Value| answer.as_array().is_some_and(|views| !views.is_empty());
    let id = [("msgId", traced.as_str())];
    let views = dashboard.until("/messageTrace/viewMessageTraceDetail.query", &id, COLLECTED, traced_so);
    assert!(views[0]["traceType"] == "Pub" && views[0]["status"] == "success", "{views}");
    let graph = dashboard.get("/messageTrace/viewMessageTraceGraph.query", &id);
    assert_eq!(graph["producerNode"]["topic"], "dash", "{graph}");
    traced
}

/// The page Consumer, a group that nobody consumes for.
fn groups(dashboard: &Dashboard) {
    let made = json!({"clusterNameList": ["DefaultCluster"], "brokerNameList": [], "subscriptionGroupConfig": {
        "groupName": "idle", "consumeEnable": true, "consumeFromMinEnable": true, "consumeBroadcastEnable": true,
        "retryQueueNums": 2, "retryMaxTimes": 7, "brokerId": 0, "whichBrokerWhenConsumeSlowly": 1}});
    assert_eq!(dashboard.post("/consumer/createOrUpdate.do", made), true);
    let group = [("consumerGroup", "idle")];
    let config = &dashboard.get("/consumer/examineSubscriptionGroupConfig.query", &group)[0];
    let config = &config["subscriptionGroupConfig"];
    assert!(config["retryMaxTimes"] == 7 && config["retryQueueNums"] == 2, "{config}");
    assert_eq!(dashboard.get("/consumer/fetchBrokerNameList.query", &group), json!(["broker-a"]));
    dashboard.get("/consumer/group.refresh.all", &[]);
    let list = dashboard.get("/consumer/groupList.query", &[("skipSysGroup", "true")]);
    let idle = list.as_array().and_then(|all| all.iter().find(|row| row["group"] == "idle"));
    assert!(idle.is_some_and(|row| row["count"] == 0), "{list}");
    let monitor = [("consumeGroupName", "idle"), ("minCount", "1"), ("maxDiffTotal", "5")];
    assert_eq!(dashboard.call("POST", "/monitor/createOrUpdateConsumerMonitor.do", &monitor, None), true);
    assert_eq!(dashboard.get("/monitor/consumerMonitorConfig.query", &[])["idle"]["maxDiffTotal"], 5);
}

/// A consumer and a producer, which the dashboard itself runs for its test page: who is online, how far, resets. Gives the
/// consumer's id.
fn consumers(dashboard: &Dashboard, server: &Server) -> String {
    assert_eq!(dashboard.get("/test/runTask.do", &[]), true);
    let group = [("consumerGroup", "TestTopicGroup"), ("address", server.broker())];
    let consumed = |answer: &Value| {
        let topic = answer.as_array().and_then(|all| all.iter().find(|row| row["topic"] == "TestTopic"));
        topic.is_some_and(|topic| sum(&topic["queueStatInfoList"], "consumerOffset") > 4)
    };
    let path = "/consumer/queryTopicByConsumer.query";
    let progress = dashboard.until(path, &group, COLLECTED, consumed);
    let online = dashboard.get("/consumer/consumerConnection.query", &group);
    assert!(
        online["consumeType"] == "CONSUME_PASSIVELY"
            && online["subscriptionTable"]["TestTopic"]["subString"] == "*"
    );
    let member = &online["connectionSet"][0];
    assert!(
        member["language"] == "JAVA"
            && member["clientAddr"].as_str().is_some_and(|at| at.starts_with("127."))
    );
    let client = member["clientId"].as_str().expect("an id").to_owned();
    assert!(progress.to_string().contains(&client), "who has the queues: {progress}");
    let asked = [("consumerGroup", "TestTopicGroup"), ("clientId", &client), ("jstack", "true")];
    let running = dashboard.get("/consumer/consumerRunningInfo.query", &asked);
    assert!(running["mqTable"].as_object().is_some_and(|queues| queues.len() >= 4), "{running}");
    assert!(running["jstack"].as_str().is_some_and(|stacks| stacks.contains("ConsumeMessageThread")));
    let producers = [("producerGroup", "TestTopicGroup"), ("topic", "TestTopic")];
    let producers = dashboard.get("/producer/producerConnection.query", &producers);
    assert_eq!(producers["connectionSet"].as_array().map(Vec::len), Some(1), "{producers}");
    let state = dashboard.get("/consumer/group.query", &group);
    assert!(state["count"] == 1 && state["messageModel"] == "CLUSTERING", "{state}");
    // It refreshes what it has listed once.
    dashboard.get("/consumer/group.refresh.all", &[]);
    let state = dashboard.get("/consumer/group.refresh", &group);
    assert_eq!(state["count"], 1, "{state}");
    let topic = [("topic", "TestTopic")];
    let by_topic = dashboard.get("/topic/queryConsumerByTopic.query", &topic);
    assert!(sum(&by_topic["TestTopicGroup"]["queueStatInfoList"], "brokerOffset") > 4, "{by_topic}");
    assert!(has(
        &dashboard.get("/topic/queryTopicConsumerInfo.query", &topic)["groupList"],
        "TestTopicGroup"
    ));

    let all = [("topic", "TestTopic"), ("begin", "0"), ("end", "4000000000000")];
    let messages = dashboard.get("/message/queryMessageByTopic.query", &all);
    let oldest = messages.as_array().and_then(|all| all.last()).expect("messages");
    let id = oldest["msgId"].as_str().expect("an id");
    let wanted = json!([{"consumerGroup": "TestTopicGroup", "trackType": "CONSUMED", "exceptionDesc": null}]);
    // Offsets of its queue are committed each five seconds.
    let path = "/message/viewMessage.query";
    dashboard.until(path, &[("topic", "TestTopic"), ("msgId", id)], COLLECTED, |seen| {
        seen["messageTrackList"] == wanted
    });
    let directly =
        [("topic", "TestTopic"), ("consumerGroup", "TestTopicGroup"), ("msgId", id), ("clientId", &client)];
    let result = dashboard.call("POST", "/message/consumeMessageDirectly.do", &directly, None);
    assert_eq!(result["consumeResult"], "CR_SUCCESS", "{result}");

    let reset = |path: &str, to: i64| {
        let asked = json!({"consumerGroupList": ["TestTopicGroup"], "topic": "TestTopic", "resetTime": to, "force": true});
        let done = dashboard.post(path, asked)["TestTopicGroup"].clone();
        assert_eq!(done["status"], true, "{done}");
        sum(&done["rollbackStatsList"], "rollbackOffset")
    };
    assert_eq!(reset("/consumer/resetOffset.do", 1), 0);
    assert!(reset("/consumer/skipAccumulate.do", -1) > 4);
    client
}

/// The page DLQ Message: one that the group gave up.
fn dead_letters(dashboard: &Dashboard, server: &Server, client: &str) {
    let mut remote = Remote::connect(server.broker());
    let sent = remote.send(send_header("dash", 0), b"dead");
    let id = sent.field("msgId").to_owned();
    let physical = i64::from_str_radix(&id[16..], 16).expect("an offset message id").to_string();
    let back = [
        ("offset", physical.as_str()),
        ("group", "TestTopicGroup"),
        ("delayLevel", "-1"),
        ("originMsgId", &id),
        ("originTopic", "dash"),
        ("unitMode", "false"),
        ("maxReconsumeTimes", "16"),
    ];
    let answer = remote.ask(request_code::CONSUMER_SEND_MSG_BACK, &back, b"");
    assert_eq!(answer.code, response_code::SUCCESS, "{answer:?}");
    let topic = "%DLQ%TestTopicGroup";
    let asked = json!({"pageNum": 1, "pageSize": 10, "topic": topic, "taskId": "", "begin": 0, "end": 4_000_000_000_000_i64});
    let page = dashboard.post("/dlqMessage/queryDlqMessageByConsumerGroup.query", asked);
    let dead = &page["page"]["content"][0];
    assert!(page["page"]["totalElements"] == 1 && dead["messageBody"] == "dead", "{page}");
    let id = dead["msgId"].as_str().expect("an id");
    let one =
        json!([{"topicName": topic, "consumerGroup": "TestTopicGroup", "msgId": id, "clientId": client}]);
    let again = dashboard.post("/dlqMessage/batchResendDlqMessage.do", one.clone());
    assert_eq!(again[0]["consumeResult"], "CR_SUCCESS", "{again}");
    // Sheets, which are zip files; one that could not be made is text.
    let sheet = format!("/dlqMessage/exportDlqMessage.do?consumerGroup=TestTopicGroup&msgId={}", escaped(id));
    for (status, _, sheet) in [
        dashboard.http("GET", &sheet, None),
        dashboard.http("POST", "/dlqMessage/batchExportDlqMessage.do", Some(&one)),
    ] {
        assert!(status == 200 && sheet.starts_with(b"PK"), "{status}: {}", String::from_utf8_lossy(&sheet));
    }
}

/// The page Dashboard: what it has collected.
fn figures(dashboard: &Dashboard) {
    let current = |answer: &Value| {
        let rows = answer.as_array().into_iter().flatten().filter_map(Value::as_str);
        rows.filter_map(|row| row.strip_prefix("TestTopic,"))
            .any(|count| count.parse().is_ok_and(|n: u64| n > 10))
    };
    dashboard.until("/dashboard/topicCurrent.query", &[], COLLECTED, current);
    let today =
        String::from_utf8(Command::new("date").arg("+%F").output().expect("today").stdout).expect("text");
    let date = [("date", today.trim())];
    let rate = |answer: &Value| answer["broker-a:0"].as_array().is_some_and(|rows| !rows.is_empty());
    dashboard.until("/dashboard/broker.query", &date, COLLECTED, rate);
    let topics = dashboard.get("/dashboard/topic.query", &date);
    assert!(topics["TestTopic"].as_array().is_some_and(|rows| !rows.is_empty()), "{topics}");
}

fn deletions(dashboard: &Dashboard, sent: &str) {
    let group = json!({"groupName": "idle", "brokerNameList": ["broker-a"]});
    assert_eq!(dashboard.post("/consumer/deleteSubGroup.do", group), true);
    assert_eq!(dashboard.get("/consumer/fetchBrokerNameList.query", &[("consumerGroup", "idle")]), json!([]));
    let topic = [("clusterName", "DefaultCluster"), ("topic", "dash")];
    assert_eq!(dashboard.call("POST", "/topic/deleteTopic.do", &topic, None), true);
    let topic = [("brokerName", "broker-a"), ("topic", "later")];
    assert_eq!(dashboard.call("POST", "/topic/deleteTopicByBroker.do", &topic, None), true);
    let list = dashboard.get("/topic/list.query", &[]);
    assert!(!has(&list["topicList"], "dash"), "{list}");
    let (_, _, gone) =
        dashboard.http("GET", &format!("/message/viewMessage.query?topic=dash&msgId={sent}"), None);
    let gone: Value = serde_json::from_slice(&gone).expect("JSON");
    assert_eq!(gone["status"], -1, "{gone}");
}
