package clients;

import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.store.OffsetStore;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Questions about offsets: ends of a queue, offsets by time, offsets of a group. */
final class Offsets {
    private Offsets() {}

    static void minMax(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        DefaultMQPullConsumer consumer = session.pullConsumer(session.group("c"));
        Failure.unlessEqual(0L, consumer.minOffset(queue), "min offset of an empty queue");
        Failure.unlessEqual(0L, consumer.maxOffset(queue), "max offset of an empty queue");
        Texts.send(producer, queue, "m", 7);
        // Apache's index follows the log with a delay; --exact asks for more.
        Await.until("max offset 7", 10, () -> consumer.maxOffset(queue) == 7);
        Failure.unlessEqual(0L, consumer.minOffset(queue), "min offset");
        long stored = Texts.read(consumer, queue, 0, 1).get(0).getStoreTimestamp();
        Failure.unlessEqual(stored, consumer.earliestMsgStoreTime(queue), "earliest store time");
    }

    static void exactAtOnce(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        for (int i = 1; i <= 200; i++) {
            Texts.send(producer, queue, "m", 1);
            Failure.unlessEqual((long) i, session.admin().maxOffset(queue), "max offset after " + i + " acknowledgements");
        }
    }

    static void search(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        DefaultMQPullConsumer consumer = session.pullConsumer(session.group("c"));
        List<Long> times = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            Texts.send(producer, queue, "m" + i, 1);
            MessageExt message = Texts.read(consumer, queue, i, 1).get(0);
            times.add(message.getStoreTimestamp());
            // Store times that differ, so that each has one answer.
            Await.until("the clock to move on", 5, () -> System.currentTimeMillis() > message.getStoreTimestamp() + 3);
        }
        for (int i = 0; i < 10; i++) {
            Failure.unlessEqual((long) i, consumer.searchOffset(queue, times.get(i)), "offset for the store time of " + i);
        }
        Failure.unlessEqual(0L, consumer.searchOffset(queue, times.get(0) - 60_000), "offset for a time before all");
        Failure.unlessEqual(4L, consumer.searchOffset(queue, times.get(3) + 1), "offset for a time between two");
        Failure.unlessEqual(10L, consumer.searchOffset(queue, times.get(9) + 60_000), "offset for a time after all");
    }

    /** What one client of a group commits, another reads; groups do not see each other's. */
    static void commit(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        Texts.send(producer, queue, "m", 20);
        String group = session.group("c");
        DefaultMQPullConsumer first = known(session, group, queue);
        OffsetStore store = first.getDefaultMQPullConsumerImpl().getOffsetStore();
        store.updateConsumeOffsetToBroker(queue, 13, false);
        DefaultMQPullConsumer second = known(session, group, queue);
        Failure.unlessEqual(13L, second.fetchConsumeOffset(queue, true), "offset that the other member committed");
        store.updateConsumeOffsetToBroker(queue, 7, false);
        Failure.unlessEqual(7L, second.fetchConsumeOffset(queue, true), "offset after a commit that goes back");
        DefaultMQPullConsumer stranger = known(session, session.group("other"), queue);
        Failure.unlessEqual(0L, stranger.fetchConsumeOffset(queue, true), "offset of another group on a young queue");
    }

    /** A consumer whose group the broker knows: the first pull makes it, and commits need it (else 26). */
    private static DefaultMQPullConsumer known(Session session, String group, MessageQueue queue) throws Exception {
        DefaultMQPullConsumer consumer = session.pullConsumer(group);
        Texts.read(consumer, queue, 0, 1);
        return consumer;
    }
}
