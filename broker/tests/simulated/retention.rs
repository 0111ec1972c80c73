//! `fileReservedTime`, `deleteWhen` and `diskMaxUsedSpaceRatio` as they stand in broker.conf: when old messages go.

use std::cell::Cell;
use std::time::Duration;

use ringmq_broker::config::{BrokerConfig, HostFacts};
use ringmq_io::Env;
use ringmq_simenv::Host;
use ringmq_wire::code::request_code as code;

use crate::common::{Rig, Scene, pull_header, send_header};

const HOUR_MS: i64 = 3_600_000;
/// Longer than the store waits between two looks at its rules.
const NOTICED: Duration = Duration::from_secs(25);

/// Starts a broker with these lines of broker.conf, with segments that fill soon.
fn scene(conf: &str) -> Scene {
    let scene = Scene::new(7);
    let facts = HostFacts { host_name: "broker-a".into(), address: scene.machine.ip(), data: "/data".into() };
    let small = "shards=1\nringBytes=1048576\nsegmentBytes=1048576\n";
    let (read, warnings) = BrokerConfig::parse(&format!("{small}{conf}"), &facts).expect("a broker.conf");
    assert_eq!(warnings, [], "nothing of it is without effect");
    scene.start(1, |config| {
        let (listen_port, data) = (config.listen_port, config.store_path_root_dir.clone());
        *config = BrokerConfig { listen_port, store_path_root_dir: data, ..read.clone() };
    });
    scene
}

/// The broker's clock; the client's is not set.
struct Clock {
    machine: Host,
    ahead_ms: Cell<i64>,
}

impl Clock {
    fn of(scene: &Scene) -> Self {
        Self { machine: scene.machine.clone(), ahead_ms: Cell::new(0) }
    }

    /// Sets it to half an hour after the next full hour of that number, UTC.
    async fn goes_on_to(&self, rig: &Rig, hour: i64) {
        let now = rig.env.now_ms() + self.ahead_ms.get();
        let jump = (hour * HOUR_MS - now).rem_euclid(24 * HOUR_MS) + HOUR_MS / 2;
        self.machine.jump_clock(jump);
        self.ahead_ms.set(self.ahead_ms.get() + jump);
        rig.env.sleep(NOTICED).await;
    }
}

async fn fill_segments(rig: &Rig) {
    let peer = rig.connect();
    for number in 0..70u8 {
        assert_eq!(peer.send(send_header("t", 0, ""), &[number; 60_000]).await.code, 0);
    }
}

/// The first message that is still there, which the broker also serves.
async fn oldest(rig: &Rig) -> i64 {
    let peer = rig.connect();
    let oldest = peer.number(code::GET_MIN_OFFSET, &[("topic", "t"), ("queueId", "0")], "offset").await;
    let pulled = peer.pull(pull_header("t", 0, oldest)).await;
    assert_eq!((pulled.code, pulled.messages[0].0, pulled.messages[0].1[0]), (0, oldest, oldest as u8));
    oldest
}

#[test]
fn what_has_had_its_time_goes_in_the_hours_that_are_named() {
    let scene = scene("fileReservedTime=5\ndeleteWhen=03;15\n");
    let clock = Clock::of(&scene);
    scene.client(|rig| async move {
        clock.goes_on_to(&rig, 1).await;
        fill_segments(&rig).await;
        clock.goes_on_to(&rig, 3).await;
        assert_eq!(oldest(&rig).await, 0, "in its hour, but only two hours old");
        clock.goes_on_to(&rig, 14).await;
        assert_eq!(oldest(&rig).await, 0, "old enough, but not in its hour");
        clock.goes_on_to(&rig, 15).await;
        assert!(oldest(&rig).await > 15, "old enough, in its hour");
    });
    scene.stop();
}

#[test]
fn what_has_had_its_time_goes_at_once_when_the_disk_is_as_full_as_is_said() {
    for (conf, goes) in [("diskMaxUsedSpaceRatio=50\n", true), ("", false)] {
        let scene = scene(&format!("fileReservedTime=5\ndeleteWhen=03\n{conf}"));
        let clock = Clock::of(&scene);
        scene.client(move |rig| async move {
            clock.goes_on_to(&rig, 4).await;
            fill_segments(&rig).await;
            // Above half, below the three quarters that it is without being said.
            let used: u64 = clock
                .machine
                .files()
                .iter()
                .filter(|(path, _)| path.starts_with("/data"))
                .map(|(_, len)| len)
                .sum();
            clock.machine.set_capacity(used * 100 / 62);
            rig.env.sleep(NOTICED).await;
            assert_eq!(oldest(&rig).await, 0, "too young, whatever the disk");
            clock.goes_on_to(&rig, 10).await;
            assert_eq!(oldest(&rig).await > 15, goes);
        });
        scene.stop();
    }
}
