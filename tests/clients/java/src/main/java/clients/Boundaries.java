package clients;

import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Of messages with one store time a search by it gives the first, or the last. */
final class Boundaries {
    private Boundaries() {}

    static void both(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        // Those of a batch have one store time, and those of two batches two.
        for (int batch = 0; batch < 3; batch++) {
            long before = System.currentTimeMillis();
            List<Message> messages = new ArrayList<>();
            for (int i = 0; i < 10; i++) {
                messages.add(Texts.message(queue.getTopic(), batch + "-" + i));
            }
            Texts.stored(producer.send(messages, queue));
            Await.until("the clock to move on", 5, () -> System.currentTimeMillis() > before + 50);
        }
        List<MessageExt> all = Texts.read(session.pullConsumer(session.group("c")), queue, 0, 30);
        for (int batch = 0; batch < 3; batch++) {
            long time = all.get(10 * batch).getStoreTimestamp();
            Failure.unlessEqual(time, all.get(10 * batch + 9).getStoreTimestamp(), "store times within a batch");
            Failure.unlessEqual(10L * batch, session.admin().searchLowerBoundaryOffset(queue, time), "lower boundary");
            Failure.unlessEqual(10L * batch + 9, session.admin().searchUpperBoundaryOffset(queue, time), "upper boundary");
        }
        long first = all.get(0).getStoreTimestamp();
        long last = all.get(29).getStoreTimestamp();
        Failure.unlessEqual(10L, session.admin().searchLowerBoundaryOffset(queue, first + 1), "the next after the first");
        Failure.unlessEqual(9L, session.admin().searchUpperBoundaryOffset(queue, first + 1), "the last up to a time between");
        Failure.unlessEqual(30L, session.admin().searchLowerBoundaryOffset(queue, last + 60_000), "lower boundary after all");
        Failure.unlessEqual(0L, session.admin().searchUpperBoundaryOffset(queue, first - 60_000), "upper boundary before all");
    }
}
