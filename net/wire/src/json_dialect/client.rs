//! Bodies that clients send and get: heartbeat, queue locks, consumer lists, subscription checks.
//!
//! Invariant: nothing that a client leaves out or words differently makes a heartbeat fail: the Go client sends hash
//! codes as text, leaves fields out and knows other names for its enums.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::subscription::SubscriptionData;

/// One queue, as bodies name it. Written in this order it is the map key that Go clients cut out of text.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MessageQueue {
    pub broker_name: String,
    pub queue_id: i32,
    pub topic: String,
}

/// An enum on the wire: names are matched in any case, an unknown one is the default.
macro_rules! tolerant_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $wire:literal),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $wire)] $variant,)*
        }

        impl $name {
            pub fn from_name(name: &str) -> Self {
                match name {
                    $(_ if name.eq_ignore_ascii_case($wire) => Self::$variant,)*
                    _ => Self::default(),
                }
            }

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)*
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(deserializer).map(|name| Self::from_name(&name))
            }
        }
    };
}
pub(super) use tolerant_enum;

tolerant_enum! {
    /// How a consumer gets its messages.
    ConsumeType {
        Actively = "CONSUME_ACTIVELY",
        #[default]
        Passively = "CONSUME_PASSIVELY",
        Pop = "CONSUME_POP",
    }
}

tolerant_enum! {
    /// Whether a group shares its queues or every member reads them all.
    MessageModel {
        Broadcasting = "BROADCASTING",
        #[default]
        Clustering = "CLUSTERING",
        LiteSelective = "LITE_SELECTIVE",
    }
}

tolerant_enum! {
    /// Where a group without an offset begins.
    ConsumeFromWhere {
        #[default]
        LastOffset = "CONSUME_FROM_LAST_OFFSET",
        LastOffsetAndMinWhenBootFirst = "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        MinOffset = "CONSUME_FROM_MIN_OFFSET",
        MaxOffset = "CONSUME_FROM_MAX_OFFSET",
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET",
        Timestamp = "CONSUME_FROM_TIMESTAMP",
    }
}

/// Body of 34.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatData {
    #[serde(rename = "clientID")]
    pub client_id: String,
    pub consumer_data_set: Vec<ConsumerData>,
    /// Not 0: the client speaks heartbeat V2, and this is the hash of its subscriptions.
    pub heartbeat_fingerprint: i32,
    pub producer_data_set: Vec<ProducerData>,
    /// The subscriptions are left out: keep those known.
    pub without_sub: bool,
}

/// A group that a client consumes for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerData {
    pub consume_from_where: ConsumeFromWhere,
    pub consume_type: ConsumeType,
    pub group_name: String,
    pub message_model: MessageModel,
    pub subscription_data_set: Vec<SubscriptionData>,
    pub unit_mode: bool,
}

/// A group that a client produces for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ProducerData {
    pub group_name: String,
}

/// Body of 41 and 42.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LockBatch {
    pub client_id: String,
    pub consumer_group: String,
    pub mq_set: BTreeSet<MessageQueue>,
    pub only_this_broker: bool,
}

/// Answer to 41: the queues that the client holds now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LockBatchAnswer {
    #[serde(rename = "lockOKMQSet")]
    pub lock_ok_mq_set: BTreeSet<MessageQueue>,
}

/// Answer to 38.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsumerIdList {
    pub consumer_id_list: Vec<String>,
}

/// Body of 46.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckClientConfig {
    pub client_id: String,
    pub group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub subscription_data: SubscriptionData,
}

#[cfg(test)]
mod tests {
    use super::super::{read, to_vec};
    use super::*;

    #[test]
    fn reads_a_go_heartbeat() {
        let body = br#"{"clientID":"10.0.0.1@7","producerDataSet":[{"groupName":"p"}],"consumerDataSet":[
            {"groupName":"g","consumeType":"CONSUME_PASSIVELY","messageModel":"Clustering","consumeFromWhere":"UNKNOWN",
             "subscriptionDataSet":[{"classFilterMode":false,"topic":"t","subString":"TagA","tagsSet":["TagA"],
             "codeSet":["2598919"],"subVersion":1700000000000000000,"expressionType":"TAG"}],"unitMode":false}]}"#;
        let beat: HeartbeatData = read(body).unwrap();
        let consumer = &beat.consumer_data_set[0];
        assert_eq!(consumer.message_model, MessageModel::Clustering);
        assert_eq!(consumer.consume_from_where, ConsumeFromWhere::LastOffset);
        let subscription = &consumer.subscription_data_set[0];
        assert!(subscription.code_set.contains(&2598919));
        assert_eq!(subscription.sub_version, 1_700_000_000_000_000_000);
        assert_eq!((beat.heartbeat_fingerprint, beat.without_sub), (0, false));
        assert_eq!(beat.producer_data_set[0].group_name, "p");
    }

    #[test]
    fn tolerates_nulls_and_repeated_fields() {
        let beat: HeartbeatData =
            read(br#"{"clientID":null,"clientID":"a","consumerDataSet":null,"x":{"y":[1]}}"#).unwrap();
        assert_eq!(beat, HeartbeatData { client_id: "a".into(), ..Default::default() });
        assert!(read::<HeartbeatData>(b"[]").is_err());
        assert!(read::<HeartbeatData>(br#"{"consumerDataSet":7}"#).is_err());
    }

    #[test]
    fn writes_locks_as_java_reads_them() {
        let queue = MessageQueue { broker_name: "b".into(), queue_id: 3, topic: "t".into() };
        let answer = LockBatchAnswer { lock_ok_mq_set: [queue].into() };
        let text = r#"{"lockOKMQSet":[{"brokerName":"b","queueId":3,"topic":"t"}]}"#;
        assert_eq!(String::from_utf8(to_vec(&answer)).unwrap(), text);
        assert_eq!(read::<LockBatchAnswer>(text.as_bytes()).unwrap(), answer);
    }
}
