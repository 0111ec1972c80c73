package clients;

/** The scenarios that every Java client can run, of whatever version. */
final class Shared {
    private Shared() {}

    static void add(Scenarios scenarios) {
        scenarios.add("send_sync", Sending::sync);
        scenarios.add("send_async", Sending::async);
        scenarios.add("send_oneway", Sending::oneway);
        scenarios.add("send_batch", Sending::batch);
        scenarios.add("send_keys_tags_props", Sending::keysTagsProps);
        scenarios.add("compressed_body", Sending::compressedBody);
        scenarios.add("large_body", Sending::largeBody);
        scenarios.add("auto_created_topic", Topics::autoCreated);
        scenarios.add("admin_created_topic", Topics::adminCreated);
        scenarios.add("broker_config", Topics::brokerConfig);
        scenarios.add("oversized_body", BadInput::oversizedBody);
        scenarios.add("oversized_properties", BadInput::oversizedProperties);
        scenarios.add("empty_body", BadInput::emptyBody);
        scenarios.add("illegal_topic", BadInput::illegalTopic);
        scenarios.add("system_topic", BadInput::systemTopic);
        scenarios.add("bad_queue_id", BadInput::badQueueId);
        scenarios.add("unknown_topic", BadInput::unknownTopic);
        scenarios.add("unknown_code", BadInput::unknownCode);
        scenarios.add("unknown_topic_without_autocreate", "--no-auto-create", BadInput::unknownTopicWithoutAutoCreate);
        scenarios.add("push_long_polling", Pushing::longPolling);
        scenarios.add("push_starts", "--exact", Pushing::starts);
        scenarios.add("cluster_two_consumers", Pushing::clusterTwoConsumers);
        scenarios.add("rebalances_at_once", "--exact", Pushing::rebalancesAtOnce);
        scenarios.add("subscription_changes", Subscribing::changes);
        scenarios.add("broadcasting", Pushing::broadcasting);
        scenarios.add("tag_filter", Pushing::tagFilter);
        scenarios.add("sql_filter", Filtering::sql);
        scenarios.add("sql_bad_expression", Filtering::badExpression);
        scenarios.add("sql_long_poll_wakes_on_match", Filtering::longPollWakesOnMatch);
        scenarios.add("orderly_consumer", Pushing::orderly);
        scenarios.add("request_reply", Replying::requestReply);
        scenarios.add("request_timeout", Replying::requestTimeout);
        scenarios.add("transaction_commit", Transacting::commit);
        scenarios.add("transaction_rollback", Transacting::rollback);
        scenarios.add("transaction_check_back", Transacting::checkBack);
        scenarios.add("transaction_check_other_producer", Transacting::checkOtherProducer);
        scenarios.add("consumer_running_info", Asking::runningInfo);
        scenarios.add("consume_directly", Asking::consumeDirectly);
        scenarios.add("reset_offset_by_time", Resetting::byTime);
        scenarios.add("from_first", Positions::fromFirst);
        scenarios.add("from_last", Positions::fromLast);
        scenarios.add("from_timestamp", Positions::fromTimestamp);
        scenarios.add("offsets_resume", Positions::resume);
        scenarios.add("pull_consumer", Pulling::pull);
        scenarios.add("pull_held", Pulling::held);
        scenarios.add("pull_tag_filter", Pulling::tagFilter);
        scenarios.add("lite_pull_subscribe", Pulling::litePullSubscribe);
        scenarios.add("lite_pull_assign_seek", Pulling::litePullAssignSeek);
        scenarios.add("min_max_offsets", Offsets::minMax);
        scenarios.add("offsets_exact_at_once", "--exact", Offsets::exactAtOnce);
        scenarios.add("search_offset", Offsets::search);
        scenarios.add("commit_offsets", Offsets::commit);
        scenarios.add("delay_level", Delayed::level);
        scenarios.add("properties_by_level", Delivered::byLevel);
        scenarios.add("properties_again", Delivered::again);
        scenarios.add("properties_committed", Delivered::committed);
        scenarios.add("retry_then_dlq", Retrying::retryThenDeadLetter);
        scenarios.add("send_back_level", Retrying::sendBackLevel);
        scenarios.add("orderly_suspend_then_dlq", Retrying::orderlySuspendThenDeadLetter);
    }
}
