package clients;

import java.time.Instant;
import java.time.ZoneId;
import java.time.format.DateTimeFormatter;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Where a group starts, and where it goes on. */
final class Positions {
    private Positions() {}

    static void fromFirst(Session session) throws Exception {
        startsAtZero(session, ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
    }

    /**
     * On a young queue (its first message is still there and in memory) the broker answers a group
     * without an offset with 0, so LAST reads everything (RocketMQ 5.5.0
     * ConsumerManageProcessor#queryConsumerOffset).
     */
    static void fromLast(Session session) throws Exception {
        startsAtZero(session, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET);
    }

    private static void startsAtZero(Session session, ConsumeFromWhere where) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(4);
        List<String> texts = Texts.send(producer, topic, "before", 40);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.newPushConsumer(session.group("c"), inbox);
        consumer.setConsumeFromWhere(where);
        consumer.subscribe(topic, "*");
        consumer.start();
        inbox.awaitExactly(texts, Inbox.PATIENCE);
        texts.addAll(Texts.send(producer, topic, "after", 10));
        inbox.awaitExactly(texts, Inbox.PATIENCE);
    }

    /**
     * A push consumer's timestamp meets the same rule for young queues; a lite pull consumer that
     * seeks to a time begins exactly there.
     */
    static void fromTimestamp(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        List<String> texts = Texts.send(producer, queue, "before", 20);
        MessageExt last = Texts.read(session.pullConsumer(session.group("peek")), queue, 19, 1).get(0);
        Await.until("the clock to move past the store time", 5,
            () -> System.currentTimeMillis() > last.getStoreTimestamp() + 5);
        long between = System.currentTimeMillis();
        List<String> after = Texts.send(producer, queue, "after", 20);
        texts.addAll(after);
        Await.until("all messages", 10, () -> session.admin().maxOffset(queue) == 40);

        Inbox inbox = new Inbox();
        DefaultMQPushConsumer push = session.newPushConsumer(session.group("push"), inbox);
        push.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_TIMESTAMP);
        push.setConsumeTimestamp(DateTimeFormatter.ofPattern("yyyyMMddHHmmss").withZone(ZoneId.systemDefault())
            .format(Instant.ofEpochMilli(between)));
        push.subscribe(queue.getTopic(), "*");
        push.start();
        inbox.awaitExactly(texts, Inbox.PATIENCE);

        DefaultLitePullConsumer lite = session.newLitePullConsumer(session.group("lite"));
        lite.start();
        lite.assign(List.of(queue));
        long offset = lite.offsetForTimestamp(queue, between);
        Failure.unlessEqual(20L, offset, "offset for the time between the two halves");
        lite.seek(queue, offset);
        Inbox half = new Inbox();
        Await.until("the second half", 20, () -> {
            half.addAll(lite.poll(500));
            return half.bodies().containsAll(after);
        });
    }

    /** A group goes on where it stopped, with another member and after more was sent. */
    static void resume(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(4);
        String group = session.group("c");
        List<String> first = Texts.send(producer, topic, "first", 50);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.pushConsumer(group, topic, inbox);
        inbox.awaitExactly(first, Inbox.PATIENCE);
        consumer.shutdown();
        List<String> second = Texts.send(producer, topic, "second", 50);
        Inbox next = new Inbox();
        session.pushConsumer(group, topic, next);
        next.awaitExactly(second, Inbox.PATIENCE);
    }
}
