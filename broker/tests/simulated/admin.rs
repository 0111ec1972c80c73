//! The admin port in a simulated world: figures of several cores, a latched shard, peers that behave badly.

use std::net::SocketAddr;
use std::time::Duration;

use crate::common::{Rig, Scene, property, pull_header, send_header};
use ringmq_broker::admin::document::Document;
use ringmq_io::limits::{ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_SECS_MAX};
use ringmq_io::{Chunk, Env, Net, Stream, deadline};
use ringmq_simenv::{Faults, SimEnv};

const PORT: u16 = 5557;

type SimStream = <<SimEnv as Env>::Net as Net>::Stream;

pub(crate) struct Http {
    env: SimEnv,
    stream: SimStream,
}

impl Http {
    pub(crate) async fn connect(rig: &Rig) -> Self {
        let addr = SocketAddr::new(rig.addr.ip(), PORT);
        Self { env: rig.env.clone(), stream: rig.env.net().connect(addr).await.expect("the admin port") }
    }

    async fn write(&self, text: &str) {
        self.stream.send(&mut vec![Chunk::Owned(text.as_bytes().to_vec())]).await.expect("a send");
    }

    /// Status and body of the next answer, whose length the head says.
    async fn answer(&self) -> (u16, String) {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap();
                if body.len() >= length.parse().unwrap() {
                    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                    return (status, body.to_owned());
                }
            }
            let more = deadline(&self.env, Duration::from_secs(60), self.stream.recv()).await;
            let more = more.expect("an answer in time").expect("no reset").expect("an answer before the end");
            bytes.extend_from_slice(&more);
        }
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        self.write(&format!("GET {path} HTTP/1.1\r\nHost: broker\r\n\r\n")).await;
        self.answer().await
    }

    /// The broker ends the connection within the limit, without a word.
    async fn is_closed_within(&self, limit: Duration) -> bool {
        matches!(deadline(&self.env, limit, self.stream.recv()).await, Ok(Ok(None) | Err(_)))
    }
}

/// The value of a sample that has all these texts in its name and labels.
pub(crate) fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let samples = metrics.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    let wanted = samples.filter(|line| labels.iter().all(|label| line.contains(label)));
    wanted.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

#[test]
fn what_was_sent_and_pulled_adds_up_over_all_cores() {
    let scene = Scene::new(71);
    scene.start(3, |config| config.shards = 3);
    scene.client(|rig| async move {
        let peer = rig.connect();
        for n in 0..200 {
            let sent = peer.send(send_header("orders", n % 4, ""), &[7; 100]).await;
            assert_eq!(sent.code, 0, "{}", sent.remark);
        }
        let mut pulled = 0;
        for queue in 0..3 {
            pulled += peer.pull_all("orders", queue).await.len();
        }
        assert_eq!(pulled, 150);
        let commit =
            [("consumerGroup", "consumers"), ("topic", "orders"), ("queueId", "1"), ("commitOffset", "20")];
        let answer = peer.ask(15, &commit, b"").await;
        assert_eq!(answer.command().code, 0);

        let http = Http::connect(&rig).await;
        let (status, metrics) = http.get("/metrics").await;
        assert_eq!(status, 200);
        let orders = "topic=\"orders\"";
        assert_eq!(sum(&metrics, "rocketmq_messages_in_total", &[orders, "is_system=\"false\""]), 200.0);
        let stored = sum(&metrics, "rocketmq_throughput_in_total", &[orders]);
        assert!((200.0 * 150.0..200.0 * 400.0).contains(&stored), "{stored} bytes");
        let by_consumers = [orders, "consumer_group=\"consumers\"", "is_retry=\"false\""];
        assert_eq!(sum(&metrics, "rocketmq_messages_out_total", &by_consumers), 150.0);
        assert_eq!(sum(&metrics, "rocketmq_throughput_out_total", &by_consumers), stored * 0.75);
        assert_eq!(sum(&metrics, "rocketmq_consumer_lag_messages", &by_consumers), 30.0);
        assert_eq!(sum(&metrics, "rocketmq_consumer_inflight_messages", &by_consumers), 30.0);
        assert_eq!(sum(&metrics, "rocketmq_consumer_ready_messages", &by_consumers), 0.0);
        assert_eq!(sum(&metrics, "ringmq_shard_records_total", &[]), 200.0);
        for core in 0..3 {
            let core = format!("core=\"{core}\"");
            assert!(sum(&metrics, "ringmq_core_turns_total", &[&core]) > 0.0, "{core}");
        }
        assert!(sum(&metrics, "ringmq_hops_total", &[]) > 0.0);
        assert!(sum(&metrics, "ringmq_stage_seconds_count", &["stage=\"append\""]) >= 1.0);
        assert!(sum(&metrics, "ringmq_stage_seconds_count", &["stage=\"hop\""]) >= 1.0);
        assert!(!metrics.contains("lag_queue"));

        // Five more that nobody has pulled, and one that is committed.
        for _ in 0..5 {
            assert_eq!(peer.send(send_header("orders", 1, ""), &[7; 100]).await.code, 0);
        }
        let commit =
            [("consumerGroup", "consumers"), ("topic", "orders"), ("queueId", "1"), ("commitOffset", "21")];
        assert_eq!(peer.ask(15, &commit, b"").await.command().code, 0);
        let (_, metrics) = http.get("/metrics").await;
        for (name, expected) in [("lag", 34.0), ("inflight", 29.0), ("ready", 5.0)] {
            let name = format!("rocketmq_consumer_{name}_messages");
            assert_eq!(sum(&metrics, &name, &by_consumers), expected, "{name}");
        }

        // The same connection serves on.
        let (_, metrics) = http.get("/metrics/queues").await;
        let queue = ["consumer_group=\"consumers\"", "queue_id=\"1\""];
        assert_eq!(sum(&metrics, "ringmq_consumer_lag_queue_messages", &queue), 34.0);
        let (_, stats) = http.get("/stats").await;
        let document: Document = serde_json::from_str(&stats).expect("a document");
        assert_eq!(document.cores.iter().map(|core| core.messages_in).sum::<u64>(), 205);
        assert_eq!(
            (document.busy_topics[0].topic.as_str(), document.busy_topics[0].messages_out),
            ("orders", 150)
        );
        assert_eq!(http.get("/healthz").await, (200, "ok\n".into()));
        assert_eq!(http.get("/nowhere").await.0, 404);
    });
    scene.stop();
}

#[test]
fn a_delayed_message_counts_for_its_topic_when_it_is_delivered() {
    let scene = Scene::new(75);
    scene.start(2, |config| config.shards = 2);
    scene.client(|rig| async move {
        let peer = rig.connect();
        let sent = peer.send(send_header("later", 0, &property("DELAY", "1")), b"x").await;
        assert_eq!(sent.code, 0, "{}", sent.remark);
        let http = Http::connect(&rig).await;
        let counted = async || {
            let (_, metrics) = http.get("/metrics").await;
            let topic = sum(&metrics, "rocketmq_messages_in_total", &["topic=\"later\""]);
            (topic, sum(&metrics, "ringmq_delayed_waiting", &[]))
        };
        assert_eq!(counted().await, (0.0, 1.0));
        rig.env.sleep(Duration::from_secs(3)).await;
        assert_eq!(counted().await, (1.0, 0.0));
    });
    scene.stop();
}

#[test]
fn a_latched_shard_is_unhealthy_with_its_reason() {
    let scene = Scene::new(72);
    scene.start(2, |config| config.shards = 2);
    scene.client(|rig| async move {
        rig.connect().send(send_header("orders", 0, ""), b"first").await;
        let http = Http::connect(&rig).await;
        assert_eq!(http.get("/healthz").await.0, 200);
        assert_eq!(sum(&http.get("/metrics").await.1, "ringmq_shard_latched", &[]), 0.0);
    });
    let mut broken = Faults::none();
    broken.disk.sync_error = 1.0;
    scene.machine.set_faults(broken);
    scene.client(|rig| async move {
        let peer = rig.connect();
        while peer.send(send_header("orders", 0, ""), b"more").await.code == 0 {
            rig.env.sleep(Duration::from_millis(100)).await;
        }
        let http = Http::connect(&rig).await;
        let (status, reason) = http.get("/healthz").await;
        assert_eq!(status, 503);
        assert!(reason.contains("shard") && reason.contains("latched"), "{reason}");
        let (status, metrics) = http.get("/metrics").await;
        assert_eq!(status, 200, "the figures are told all the same");
        // On a device like that another shard may have latched meanwhile.
        assert!(sum(&metrics, "ringmq_shard_latched", &[]) >= 1.0);
    });
}

#[test]
fn peers_that_behave_badly_cost_their_own_connection() {
    let scene = Scene::new(73);
    scene.start(1, |_| ());
    scene.client(|rig| async move {
        let slow = Http::connect(&rig).await;
        slow.write("GET /healthz HT").await;
        let late = Duration::from_secs(ADMIN_HEAD_SECS_MAX + 5);
        assert!(slow.is_closed_within(late).await, "half a request is not waited for");
        let pipelined = Http::connect(&rig).await;
        pipelined
            .write("GET /healthz HTTP/1.1\r\n\r\nGET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n")
            .await;
        assert_eq!(pipelined.answer().await.0, 200);
        let refused = Http::connect(&rig).await;
        refused.write("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc").await;
        assert_eq!(refused.answer().await.0, 405);
        assert!(refused.is_closed_within(Duration::from_secs(5)).await);

        let mut crowd = Vec::new();
        for _ in 0..ADMIN_CONNECTIONS_MAX {
            let http = Http::connect(&rig).await;
            assert_eq!(http.get("/healthz").await.0, 200);
            crowd.push(http);
        }
        let one_more = Http::connect(&rig).await;
        assert!(one_more.is_closed_within(Duration::from_secs(5)).await, "connections are bounded");
        crowd.pop().unwrap().stream.close();
        rig.env.sleep(Duration::from_secs(1)).await;
        assert_eq!(Http::connect(&rig).await.get("/healthz").await.0, 200);
        assert_eq!(crowd[0].get("/healthz").await.0, 200, "the others are still served");
    });
    scene.stop();
}

#[test]
fn an_exporter_that_is_off_listens_nowhere() {
    let scene = Scene::new(74);
    scene.start(1, |config| config.metrics_exporter_type = ringmq_broker::config::Exporter::Disable);
    scene.client(|rig| async move {
        let addr = SocketAddr::new(rig.addr.ip(), PORT);
        assert!(rig.env.net().connect(addr).await.is_err());
        let sent = rig.connect().send(send_header("orders", 0, ""), b"x").await;
        assert_eq!(sent.code, 0);
        rig.connect().pull(pull_header("orders", 0, 0)).await;
    });
    scene.stop();
}
