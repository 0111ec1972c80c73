package clients;

import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.impl.consumer.ProcessQueue;
import org.apache.rocketmq.common.message.MessageQueue;

/** What a push consumer holds at this moment, as its rebalancing sees it. */
final class Queues {
    private Queues() {}

    static Set<MessageQueue> owned(DefaultMQPushConsumer consumer, String topic) {
        Set<MessageQueue> owned = new HashSet<>();
        for (Map.Entry<MessageQueue, ProcessQueue> entry : table(consumer).entrySet()) {
            if (entry.getKey().getTopic().equals(topic) && !entry.getValue().isDropped()) {
                owned.add(entry.getKey());
            }
        }
        return owned;
    }

    /** True once every queue of the topic has a pull that has been out for the given time. */
    static boolean waiting(DefaultMQPushConsumer consumer, String topic, int queues, long millis) {
        int waiting = 0;
        for (Map.Entry<MessageQueue, ProcessQueue> entry : table(consumer).entrySet()) {
            if (entry.getKey().getTopic().equals(topic)
                && System.currentTimeMillis() - entry.getValue().getLastPullTimestamp() > millis) {
                waiting++;
            }
        }
        return waiting == queues;
    }

    private static Map<MessageQueue, ProcessQueue> table(DefaultMQPushConsumer consumer) {
        return consumer.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable();
    }
}
