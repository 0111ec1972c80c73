package clients;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/** Producers that send again what they have sent. */
final class Repeating {
    private Repeating() {}

    /** A topic that takes each message once: what is sent again, wherever to, is answered with the first. */
    static void once(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.topic();
        TopicConfig config = new TopicConfig(topic, 4, 4);
        config.setAttributes(Map.of("+ringmq.dedup.window", "10m"));
        for (String broker : session.masters()) {
            session.admin().createAndUpdateTopicConfig(broker, config);
        }
        List<MessageQueue> queues = Await.value("the topic's queues", 15, () -> producer.fetchPublishMessageQueues(topic));
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            batch.add(Texts.message(topic, "batch-" + i));
        }
        SendResult together = Texts.stored(producer.send(batch, queues.get(0)));
        for (int i = 0; i < 20; i++) {
            // The client gives a message its unique key with the first send, and keeps it.
            Message message = Texts.message(topic, "once-" + i);
            SendResult first = Texts.stored(producer.send(message, queues.get(i % 4)));
            for (MessageQueue queue : queues) {
                same(first, Texts.stored(producer.send(message, queue)));
            }
        }
        same(together, Texts.stored(producer.send(batch, queues.get(1))));
        long stored = 0;
        for (MessageQueue queue : queues) {
            stored += session.admin().maxOffset(queue);
        }
        Failure.unlessEqual(30L, stored, "messages of the topic");
    }

    private static void same(SendResult first, SendResult again) throws Failure {
        Failure.unlessEqual(first.getMsgId(), again.getMsgId(), "message id of the second send");
        Failure.unlessEqual(first.getOffsetMsgId(), again.getOffsetMsgId(), "its offset message id");
        Failure.unlessEqual(first.getMessageQueue(), again.getMessageQueue(), "its queue");
        Failure.unlessEqual(first.getQueueOffset(), again.getQueueOffset(), "its queue offset");
    }
}
