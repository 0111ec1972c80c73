//! The keys of the youngest messages: from the ring's, unsealed and sealed segments' index, before and after a restart.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::support::{append, open, parts, small_config, tagged};
use ringmq_io::Env;
use ringmq_simenv::{SimEnv, World};
use ringmq_store::{RecentKey, Shard, key_hash};

const COUNT: u64 = 2500;

async fn keys_since(shard: &Shard<SimEnv>, topic: &str, since_ms: i64) -> BTreeSet<RecentKey> {
    shard.recent_keys(topic, since_ms, usize::MAX).await.unwrap().unwrap().into_iter().collect()
}

/// Messages with a unique key and a word, of two topics, over several segments; gives the keys of topic `a`.
async fn fill(env: &SimEnv, shard: &Shard<SimEnv>) -> BTreeSet<RecentKey> {
    let mut wanted = BTreeSet::new();
    for number in 0..COUNT {
        let topic = if number % 3 == 0 { "b" } else { "a" };
        let (unique, word) = (format!("u{number}"), format!("w{}", number % 7));
        let properties = format!("UNIQ_KEY\u{1}{unique}\u{2}KEYS\u{1}{word}\u{2}");
        let queue = shard.queue(topic, (number % 4) as u32);
        let record = [tagged(parts(topic, &[7; 600], &properties), 0)];
        let appended = append(shard, queue, &record).await.unwrap();
        if topic == "a" {
            wanted.extend([unique, word].map(|key| RecentKey {
                hash: key_hash("a", &key),
                physical: appended.physical,
                store_time_ms: appended.store_time_ms,
            }));
        }
        if number % 50 == 0 {
            env.sleep(Duration::from_millis(20)).await;
        }
    }
    wanted
}

#[test]
fn they_are_those_of_the_topic_from_a_time_on() {
    let world = World::new(5);
    let host = world.host("broker");
    let wanted = world.run(&host, |env| async move {
        let (_handle, shard, _) = open(&env, &small_config("/data")).await.unwrap();
        let wanted = fill(&env, &shard).await;
        assert!(shard.stats().segments > 3, "the keys of some segments have to be sealed");
        assert_eq!(keys_since(&shard, "a", i64::MIN).await, wanted);
        let times: BTreeSet<i64> = wanted.iter().map(|key| key.store_time_ms).collect();
        for since in times.iter().step_by(9) {
            let young = wanted.iter().filter(|key| key.store_time_ms >= *since).copied().collect();
            assert_eq!(keys_since(&shard, "a", *since).await, young);
        }
        assert!(keys_since(&shard, "a", times.last().unwrap() + 1).await.is_empty());
        assert!(keys_since(&shard, "nowhere", i64::MIN).await.is_empty());
        let messages = wanted.len() / 2;
        assert!(shard.recent_keys("a", i64::MIN, messages).await.unwrap().is_some());
        assert_eq!(shard.recent_keys("a", i64::MIN, messages - 1).await.unwrap(), None);
        wanted
    });
    world.run(&host, |env| async move {
        let (_handle, shard, _) = open(&env, &small_config("/data")).await.unwrap();
        assert_eq!(keys_since(&shard, "a", i64::MIN).await, wanted, "after a kill");
        shard.drop_queues("a").await.unwrap();
        assert!(keys_since(&shard, "a", i64::MIN).await.is_empty());
        assert!(!keys_since(&shard, "b", i64::MIN).await.is_empty());
    });
}
