//! Headers of requests to the name server.

use super::header;

header! {
    /// 105: where is this topic?
    GetRouteHeader {
        topic: &'a str = "topic",
        accept_standard_json_only: bool = "acceptStandardJsonOnly",
    }
}

header! {
    /// 103: a broker says that it is there, and which topics it has.
    RegisterBrokerHeader {
        broker_name: &'a str = "brokerName",
        broker_addr: &'a str = "brokerAddr",
        cluster_name: &'a str = "clusterName",
        ha_server_addr: &'a str = "haServerAddr" or "",
        broker_id: i64 = "brokerId",
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis",
        enable_acting_master: Option<bool> = "enableActingMaster",
        compressed: bool = "compressed",
        /// 0: not checked.
        body_crc32: i32 = "bodyCrc32" or 0,
        zone_name: Option<&'a str> = "__ZONE_NAME",
    }
}

header! {
    /// Answer to 103.
    RegisterBrokerAnswerHeader {
        ha_server_addr: Option<&'a str> = "haServerAddr",
        master_addr: Option<&'a str> = "masterAddr",
    }
}

header! {
    /// 104 and 322: which broker.
    BrokerIdentityHeader {
        broker_name: &'a str = "brokerName",
        broker_addr: &'a str = "brokerAddr",
        cluster_name: &'a str = "clusterName",
        broker_id: i64 = "brokerId",
    }
}

header! {
    /// 904: a broker is still there.
    BrokerHeartbeatHeader {
        cluster_name: &'a str = "clusterName",
        broker_addr: &'a str = "brokerAddr",
        broker_name: &'a str = "brokerName",
        broker_id: Option<i64> = "brokerId",
        epoch: Option<i32> = "epoch",
        max_offset: Option<i64> = "maxOffset",
        confirm_offset: Option<i64> = "confirmOffset",
        /// Misspelled on the wire.
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMills",
        election_priority: Option<i32> = "electionPriority",
    }
}

header! {
    /// 901: the members of a broker's group.
    BrokerMemberGroupHeader {
        cluster_name: &'a str = "clusterName",
        broker_name: &'a str = "brokerName",
    }
}

header! {
    /// 100: set a value.
    PutKvConfigHeader {
        namespace: &'a str = "namespace",
        key: &'a str = "key",
        value: &'a str = "value",
    }
}

header! {
    /// 101 and 102: a value's place.
    KvKeyHeader {
        namespace: &'a str = "namespace",
        key: &'a str = "key",
    }
}

header! {
    /// 219: a whole namespace.
    KvNamespaceHeader {
        namespace: &'a str = "namespace",
    }
}

header! {
    /// 205 and 327: a broker by name.
    BrokerNameHeader {
        broker_name: &'a str = "brokerName",
    }
}

header! {
    /// 216: forget a topic; without a cluster, everywhere.
    DeleteTopicInNamesrvHeader {
        topic: &'a str = "topic",
        cluster_name: Option<&'a str> = "clusterName",
    }
}

header! {
    /// 217: a single topic's route comes in the body.
    RegisterTopicHeader {
        topic: &'a str = "topic",
    }
}

header! {
    /// 224: topics of a cluster.
    TopicsByClusterHeader {
        cluster: &'a str = "cluster",
    }
}
