//! Headers of administration requests to the broker.

use super::header;

header! {
    /// 17: create or change a topic.
    CreateTopicHeader {
        topic: &'a str = "topic",
        default_topic: Option<&'a str> = "defaultTopic",
        read_queue_nums: i32 = "readQueueNums",
        write_queue_nums: i32 = "writeQueueNums",
        perm: i32 = "perm",
        topic_filter_type: &'a str = "topicFilterType" or "SINGLE_TAG",
        topic_sys_flag: i32 = "topicSysFlag" or 0,
        order: bool = "order",
        /// `+key=value,-key`.
        attributes: Option<&'a str> = "attributes",
        force: bool = "force",
    }
}

header! {
    /// 21: all topics, in pages. Callers older than paging send no header at all.
    GetAllTopicConfigHeader {
        topic_seq: Option<i32> = "topicSeq",
        max_topic_num: Option<i32> = "maxTopicNum",
        data_version: Option<&'a str> = "dataVersion",
    }
}

header! {
    /// 201: all groups, in pages. The dashboard sends no header at all.
    GetAllSubscriptionGroupHeader {
        group_seq: Option<i32> = "groupSeq",
        max_group_num: Option<i32> = "maxGroupNum",
        data_version: Option<&'a str> = "dataVersion",
    }
}

header! {
    /// 202, 215, 300, 351: all about one topic.
    TopicHeader {
        topic: &'a str = "topic",
    }
}

header! {
    /// 204: who produces for this group?
    ProducerGroupHeader {
        producer_group: &'a str = "producerGroup",
    }
}

header! {
    /// 207: delete a group.
    DeleteSubscriptionGroupHeader {
        group_name: &'a str = "groupName",
        clean_offset: bool = "cleanOffset",
    }
}

header! {
    /// 208: how far is this group?
    GetConsumeStatsHeader {
        consumer_group: &'a str = "consumerGroup",
        topic: Option<&'a str> = "topic",
        topic_list: Option<&'a str> = "topicList",
    }
}

header! {
    /// 222 to the broker and 220 to a client: move a group's offsets.
    ResetOffsetHeader {
        topic: &'a str = "topic",
        group: &'a str = "group",
        /// −1: all queues.
        queue_id: i32 = "queueId" or -1,
        offset: Option<i64> = "offset",
        timestamp: i64 = "timestamp",
        is_force: bool = "isForce",
    }
}

header! {
    /// 221 to a client and 223 to the broker.
    GetConsumerStatusHeader {
        topic: &'a str = "topic",
        group: &'a str = "group",
        client_addr: Option<&'a str> = "clientAddr",
    }
}

header! {
    /// 303, 345, 353.
    GroupTopicHeader {
        group: &'a str = "group",
        topic: &'a str = "topic",
        /// 353 only: the new setting.
        readable: Option<bool> = "readable",
    }
}

header! {
    /// 343, 352.
    GroupHeader {
        group: &'a str = "group",
    }
}

header! {
    /// 307, relayed to the client.
    GetConsumerRunningInfoHeader {
        consumer_group: &'a str = "consumerGroup",
        client_id: &'a str = "clientId",
        jstack_enable: bool = "jstackEnable",
    }
}

header! {
    /// 309, relayed to the client.
    ConsumeMessageDirectlyHeader {
        consumer_group: &'a str = "consumerGroup",
        client_id: Option<&'a str> = "clientId",
        msg_id: Option<&'a str> = "msgId",
        broker_name: Option<&'a str> = "brokerName",
        topic: Option<&'a str> = "topic",
        topic_sys_flag: Option<i32> = "topicSysFlag",
        group_sys_flag: Option<i32> = "groupSysFlag",
    }
}

header! {
    /// 321: raw consume queue entries.
    QueryConsumeQueueHeader {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        index: i64 = "index",
        count: i32 = "count",
        consumer_group: Option<&'a str> = "consumerGroup",
    }
}

header! {
    /// 315: one statistics item.
    ViewBrokerStatsHeader {
        stats_name: &'a str = "statsName",
        stats_key: &'a str = "statsKey",
    }
}

header! {
    /// 314: give a group the offsets of another.
    CloneGroupOffsetHeader {
        src_group: &'a str = "srcGroup",
        dest_group: &'a str = "destGroup",
        topic: Option<&'a str> = "topic",
        offline: bool = "offline",
    }
}

header! {
    /// 308: how far the slowest group is.
    CorrectionOffsetHeader {
        /// Groups that do not count, with commas.
        filter_groups: Option<&'a str> = "filterGroups",
        compare_group: &'a str = "compareGroup",
        topic: &'a str = "topic",
    }
}
