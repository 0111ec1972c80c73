package clients;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.function.IntPredicate;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.ResponseCode;

/** SQL92 filters. The client does not look at properties itself: what arrives is what the broker chose. */
final class Filtering {
    private static final int COUNT = 30;

    private Filtering() {}

    /** Message i has a=i, an even one even=true, and every third a name. */
    private static Message message(String topic, int i) {
        Message message = Texts.message(topic, "m-" + i);
        message.putUserProperty("a", Integer.toString(i));
        if (i % 2 == 0) {
            message.putUserProperty("even", "true");
        }
        if (i % 3 == 0) {
            message.putUserProperty("name", "it's number " + i);
        }
        return message;
    }

    static void sql(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        for (int i = 0; i < COUNT; i++) {
            Texts.stored(producer.send(message(queue.getTopic(), i), queue));
        }
        DefaultMQPullConsumer puller = session.pullConsumer(session.group("pull"));
        // The client wants to know the broker's version first, which it learns with a heartbeat, and the route before that.
        puller.pull(queue, "*", 0, 1);
        // It sends none while one of its own is under way, which may have begun before the route was known.
        Await.until("a heartbeat with the route known", 10,
            () -> Heartbeat.sent(puller.getDefaultMQPullConsumerImpl().getRebalanceImpl().getmQClientFactory()));
        pulls(puller, queue, "a > 5 AND a <= 9", i -> i > 5 && i <= 9);
        pulls(puller, queue, "a = 3 or a = 4.0 Or (a=7 and FALSE)", i -> i == 3 || i == 4);
        pulls(puller, queue, "a <> 3", i -> i != 3);
        pulls(puller, queue, "a BETWEEN 3 AND 5", i -> i >= 3 && i <= 5);
        pulls(puller, queue, "a NOT BETWEEN 3 AND 5", i -> i < 3 || i > 5);
        pulls(puller, queue, "a IN ('3', '17', '99')", i -> i == 3 || i == 17);
        pulls(puller, queue, "a NOT IN ('3', '17', '99')", i -> i != 3 && i != 17);
        pulls(puller, queue, "even IS NULL", i -> i % 2 == 1);
        pulls(puller, queue, "even IS NOT NULL AND even = TRUE", i -> i % 2 == 0);
        pulls(puller, queue, "NOT (even = TRUE)", i -> false);
        pulls(puller, queue, "name CONTAINS 's number 1'", i -> i == 12 || i == 15 || i == 18);
        pulls(puller, queue, "name NOT CONTAINS '1'", i -> i % 3 == 0 && !Integer.toString(i).contains("1"));
        pulls(puller, queue, "name STARTSWITH 'it''s' AND name ENDSWITH ' 9'", i -> i == 9);
        pulls(puller, queue, "name > 5 OR TRUE", i -> i % 3 != 0);
        pulls(puller, queue, "a > -1 /* a comment */ AND - a IS NULL -- and another\nAND missing = other", i -> true);
        pulls(puller, queue, "KEYS = 'none'", i -> false);

        List<String> wanted = new ArrayList<>();
        for (int i = 0; i < COUNT; i++) {
            if (i % 2 == 0 && i >= 10) {
                wanted.add("m-" + i);
            }
        }
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.newPushConsumer(session.group("push"), inbox);
        consumer.subscribe(queue.getTopic(), MessageSelector.bySql("even = TRUE AND a >= 10"));
        consumer.start();
        inbox.awaitExactly(wanted, Inbox.PATIENCE);
    }

    private static void pulls(DefaultMQPullConsumer consumer, MessageQueue queue, String expression, IntPredicate wanted)
        throws Exception {
        List<String> expected = new ArrayList<>();
        for (int i = 0; i < COUNT; i++) {
            if (wanted.test(i)) {
                expected.add("m-" + i);
            }
        }
        PullResult result = consumer.pull(queue, MessageSelector.bySql(expression), 0, COUNT);
        Failure.unlessEqual((long) COUNT, result.getNextBeginOffset(), "next offset with " + expression);
        if (expected.isEmpty()) {
            Failure.unlessEqual(PullStatus.NO_MATCHED_MSG, result.getPullStatus(), "status with " + expression);
        } else {
            Failure.unlessEqual(PullStatus.FOUND, result.getPullStatus(), "status with " + expression);
            Failure.unlessEqual(expected, Texts.texts(result.getMsgFoundList()), "messages with " + expression);
        }
    }

    /** A push consumer hears of a wrong expression when it starts. */
    static void badExpression(Session session) throws Exception {
        String topic = session.createTopic(2);
        for (String expression : new String[] {"a >", "a > 'text'", "a BETWEEN 5 AND 3", "a ! 3", "a = 'open"}) {
            DefaultMQPushConsumer consumer = session.newPushConsumer(session.group("c"), new Inbox());
            consumer.subscribe(topic, MessageSelector.bySql(expression));
            try {
                consumer.start();
                throw new Failure("a consumer started with " + expression);
            } catch (MQClientException refused) {
                Failure.unlessEqual(ResponseCode.SUBSCRIPTION_PARSE_FAILED, refused.getResponseCode(),
                    "code for " + expression + " (" + refused.getErrorMessage() + ")");
            }
        }
    }

    /** What does not match leaves a held pull held; a match behind it arrives at once. */
    static void longPollWakesOnMatch(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(2);
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(topic);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.newPushConsumer(session.group("c"), inbox);
        consumer.subscribe(topic, MessageSelector.bySql("a > 100"));
        consumer.start();
        Await.until("a held pull for each queue", Inbox.PATIENCE, () -> Queues.waiting(consumer, topic, 2, 1500));
        for (int i = 0; i < 10; i++) {
            for (MessageQueue queue : queues) {
                Texts.stored(producer.send(message(topic, i), queue));
            }
        }
        Await.until("the pulls to be held for longer", Inbox.PATIENCE, () -> Queues.waiting(consumer, topic, 2, 3000));
        Failure.unlessEqual(0, inbox.size(), "messages that do not match");
        long sent = System.nanoTime();
        Texts.stored(producer.send(message(topic, 101), queues.get(1)));
        inbox.awaitMoreThan(0, 10);
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - sent);
        Failure.unless(millis < 1000, "the message arrived " + millis + " ms after it was sent");
        Failure.unlessEqual(List.of("m-101"), inbox.bodies(), "messages");
    }
}
