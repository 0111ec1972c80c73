package clients;

import java.nio.charset.StandardCharsets;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages that come later, by delay level. */
final class Delayed {
    private Delayed() {}

    /** A message that arrived, and when. */
    static final class Arrivals {
        final Inbox inbox = new Inbox();
        final DefaultMQProducer producer;
        final String topic;

        Arrivals(Session session) throws Exception {
            producer = session.producer();
            topic = session.createTopic(2);
            session.pushConsumer(session.group("c"), topic, inbox);
            // From here on a delay is the broker's, and not the consumer's start.
            Texts.send(producer, topic, "prime", 4);
            Await.until("the first messages", Inbox.PATIENCE, () -> inbox.size() == 4);
        }

        /** Sends one and gives the milliseconds until it came. */
        long delayOf(Message message) throws Exception {
            long sent = System.currentTimeMillis();
            int before = inbox.size();
            Texts.stored(producer.send(message));
            inbox.awaitMoreThan(before, 30);
            long took = System.currentTimeMillis() - sent;
            MessageExt came = inbox.messages().get(before);
            Failure.unlessEqual(new String(message.getBody(), StandardCharsets.UTF_8), Texts.text(came), "what came");
            Failure.unlessEqual(topic, came.getTopic(), "its topic");
            Failure.unlessEqual("value", came.getProperty("own"), "its own property");
            return took;
        }

        Message message(String text) {
            Message message = Texts.message(topic, text);
            message.putUserProperty("own", "value");
            return message;
        }
    }

    static void level(Session session) throws Exception {
        Arrivals arrivals = new Arrivals(session);
        for (int level = 1; level <= 2; level++) {
            Message message = arrivals.message("level-" + level);
            message.setDelayTimeLevel(level);
            long took = arrivals.delayOf(message);
            // 1 s by default; the second level is longer, however the broker is configured.
            Failure.unless(took >= 1000L && took < 20_000, "level " + level + " came after " + took + " ms");
            MessageExt came = arrivals.inbox.messages().get(3 + level);
            Failure.unlessEqual(arrivals.topic, came.getProperty("REAL_TOPIC"), "its REAL_TOPIC");
        }
    }
}
