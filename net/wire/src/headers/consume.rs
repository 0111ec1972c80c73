//! Headers of consumption: offsets, client lists, send-back, transactions, message queries.

use super::header;

header! {
    /// 14: where does this group stand in this queue?
    QueryConsumerOffsetHeader {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        /// `false`: answer 22 instead of guessing 0. Absent means `true`.
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }
}

header! {
    /// 15: this group has consumed up to here (exclusive).
    UpdateConsumerOffsetHeader {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        commit_offset: i64 = "commitOffset",
    }
}

header! {
    /// 29: the offset at a time.
    SearchOffsetHeader {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        timestamp: i64 = "timestamp",
        /// See `SearchOffsetHeader::upper`.
        boundary_type: Option<&'a str> = "boundaryType",
    }
}

impl SearchOffsetHeader<'_> {
    /// Last offset at or before the time instead of the first at or after it.
    /// Anything but `upper` (in any case) means lower, as RocketMQ 5.5.0 BoundaryType#getType has it.
    pub fn upper(&self) -> bool {
        self.boundary_type.is_some_and(|kind| kind.eq_ignore_ascii_case("upper"))
    }
}

header! {
    /// 30: the next offset that will be assigned.
    GetMaxOffsetHeader {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        /// Absent means `true`.
        committed: bool = "committed" or true,
    }
}

header! {
    /// 31 (smallest offset kept) and 32 (store time of the message there).
    TopicQueueHeader {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
    }
}

header! {
    /// 35: a client leaves.
    UnregisterClientHeader {
        client_id: &'a str = "clientID",
        producer_group: Option<&'a str> = "producerGroup",
        consumer_group: Option<&'a str> = "consumerGroup",
    }
}

header! {
    /// 36: consume this message again later.
    ConsumerSendBackHeader {
        /// Physical offset of the record.
        offset: i64 = "offset",
        group: &'a str = "group",
        delay_level: i32 = "delayLevel",
        origin_msg_id: Option<&'a str> = "originMsgId",
        origin_topic: Option<&'a str> = "originTopic",
        unit_mode: bool = "unitMode",
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
    }
}

header! {
    /// 370: take a delayed message back.
    RecallMessageHeader {
        producer_group: Option<&'a str> = "producerGroup",
        topic: &'a str = "topic",
        recall_handle: &'a str = "recallHandle",
    }
}

header! {
    /// 37: the fate of a half message.
    EndTransactionHeader {
        topic: Option<&'a str> = "topic",
        producer_group: &'a str = "producerGroup",
        /// Queue offset of the half message.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// Physical offset of the half message.
        commit_log_offset: i64 = "commitLogOffset",
        /// 8 commit, 12 roll back, 0 unknown.
        commit_or_rollback: i32 = "commitOrRollback",
        from_transaction_check: bool = "fromTransactionCheck",
        msg_id: Option<&'a str> = "msgId",
        transaction_id: Option<&'a str> = "transactionId",
    }
}

header! {
    /// 38, 40, 203: all about one group.
    ConsumerGroupHeader {
        consumer_group: &'a str = "consumerGroup",
    }
}

header! {
    /// 39, broker to producer: what became of this transaction?
    CheckTransactionStateHeader {
        topic: Option<&'a str> = "topic",
        tran_state_table_offset: i64 = "tranStateTableOffset",
        commit_log_offset: i64 = "commitLogOffset",
        msg_id: Option<&'a str> = "msgId",
        transaction_id: Option<&'a str> = "transactionId",
        offset_msg_id: Option<&'a str> = "offsetMsgId",
        broker_name: Option<&'a str> = "bname",
    }
}

header! {
    /// 12: messages by key.
    QueryMessageHeader {
        topic: &'a str = "topic",
        key: &'a str = "key",
        max_num: i32 = "maxNum",
        begin_timestamp: i64 = "beginTimestamp",
        end_timestamp: i64 = "endTimestamp",
        /// The key is a unique id.
        unique_key: bool = "_UNIQUE_KEY_QUERY",
        index_type: Option<&'a str> = "indexType",
        last_key: Option<&'a str> = "lastKey",
    }
}

header! {
    /// 33: one message by physical offset.
    ViewMessageHeader {
        topic: Option<&'a str> = "topic",
        offset: i64 = "offset",
    }
}

header! {
    /// 323: a half message that was given up.
    ResumeCheckHeader {
        topic: Option<&'a str> = "topic",
        msg_id: &'a str = "msgId",
    }
}

header! {
    /// 326, broker to client: the reply to a request.
    PushReplyHeader {
        born_host: &'a str = "bornHost",
        store_host: &'a str = "storeHost",
        store_timestamp: i64 = "storeTimestamp",
        producer_group: &'a str = "producerGroup",
        topic: &'a str = "topic",
        default_topic: &'a str = "defaultTopic",
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        queue_id: i32 = "queueId",
        sys_flag: i32 = "sysFlag",
        born_timestamp: i64 = "bornTimestamp",
        flag: i32 = "flag",
        properties: Option<&'a str> = "properties",
        reconsume_times: Option<i32> = "reconsumeTimes",
        unit_mode: bool = "unitMode",
    }
}
