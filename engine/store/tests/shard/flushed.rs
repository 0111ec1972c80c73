//! When what nobody waits for becomes durable.

use std::time::Duration;

use crate::support::{acknowledged, append, open, parts, small_config, tagged};
use ringmq_io::Env;
use ringmq_simenv::World;
use ringmq_store::StoreConfig;

const INTERVAL: Duration = Duration::from_millis(100);

/// A group ends where the ring begins anew; what is behind has waited as long as what is before.
#[test]
fn a_flush_interval_is_not_waited_for_twice_at_the_end_of_a_lap() {
    let world = World::new(1);
    let host = world.host("broker");
    world.run(&host, |env| async move {
        let config = StoreConfig { flush_interval: INTERVAL, ..small_config("/data") };
        let ring = config.ring_bytes as u64;
        let (_handle, shard, _) = open(&env, &config).await.unwrap();
        let queue = shard.queue("orders", 0);
        let body = vec![1; 1000];
        let message = tagged(parts("orders", &body, ""), 0);
        let mut end = 0;
        while end + 8 * 1024 < ring {
            end = append(&shard, queue, &[message]).await.unwrap().end;
        }
        assert!(acknowledged(&shard, end, true).await);
        let begun = env.monotonic_ns();
        for _ in 0..16 {
            end = append(&shard, queue, &[message]).await.unwrap().end;
        }
        assert!(end > ring, "the last of them are in the next lap");
        while shard.synced().get() < end {
            shard.synced().moved().await;
        }
        let waited = Duration::from_nanos(env.monotonic_ns() - begun);
        assert!(waited < INTERVAL + Duration::from_millis(20), "{waited:?}");
        shard.shutdown().await.unwrap();
    });
}
