//! JSON bodies in both dialects. A typed body that was read is written in each dialect and must read the same.
use std::fmt::Debug;

use ringmq_wire::json_dialect::*;
use ringmq_wire::subscription::SubscriptionData;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub fn check(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = parse(text);
        if let Ok(topic) = TopicConfig::from_line(text) {
            let _ = TopicConfig::from_line(&topic.to_line());
        }
    }
    round_trip::<HeartbeatData>(bytes);
    round_trip::<LockBatch>(bytes);
    round_trip::<SubscriptionData>(bytes);
    round_trip::<TopicConfigTable>(bytes);
    round_trip::<SubscriptionGroupConfig>(bytes);
    round_trip::<TopicRouteData>(bytes);
    round_trip::<ClusterInfo>(bytes);
    round_trip::<ConsumerStatusBody>(bytes);
    round_trip::<ConsumerOffsetTable>(bytes);
    round_trip::<KvTable>(bytes);
}

fn round_trip<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(body) = read::<T>(bytes) else { return };
    for dialect in [Dialect::Legacy, Dialect::Standard] {
        let mut out = Vec::new();
        write(&mut out, &body, dialect);
        assert_eq!(read::<T>(&out).as_ref(), Ok(&body));
    }
}
