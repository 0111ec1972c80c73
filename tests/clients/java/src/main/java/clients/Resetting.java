package clients;

import java.util.List;
import java.util.Map;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageQueue;

/** An administrator moves the offsets of a group. */
final class Resetting {
    private Resetting() {}

    /** A consumer that is online gets the messages since then again; one that starts later goes on from there. */
    static void byTime(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(2);
        String group = session.group("c");
        Texts.send(producer, topic, "old", 10);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.pushConsumer(group, topic, inbox);
        inbox.awaitMoreThan(9, Inbox.PATIENCE);
        // Past the last old message's millisecond.
        long between = System.currentTimeMillis() + 50;
        Await.until("a later millisecond", 5, () -> System.currentTimeMillis() > between + 50);
        List<String> young = Texts.send(producer, topic, "young", 10);
        inbox.awaitMoreThan(19, Inbox.PATIENCE);
        Failure.unlessEqual(20, inbox.size(), "messages before the reset");

        Map<MessageQueue, Long> offsets = session.admin().resetOffsetByTimestamp(topic, group, between, true);
        Failure.unlessEqual(2, offsets.size(), "queues that were reset");
        // The client leaves the queues for 10 s before it goes on.
        inbox.awaitMoreThan(29, 60);
        List<String> again = inbox.bodies().subList(20, 30);
        Failure.unless(again.containsAll(young), "messages after the reset: " + again);
        consumer.shutdown();

        session.admin().resetOffsetByTimestamp(topic, group, between, true);
        Inbox later = new Inbox();
        session.pushConsumer(group, topic, later);
        later.awaitExactly(young, 60);
    }
}
