package clients;

import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;

/** A consumer that changes what it wants while it runs. */
final class Subscribing {
    private Subscribing() {}

    private static void send(DefaultMQProducer producer, String topic, String tag, String text) throws Exception {
        Message message = Texts.message(topic, text);
        message.setTags(tag);
        Texts.stored(producer.send(message));
    }

    static void changes(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String one = session.createTopic(session.topic("one"), 2);
        String two = session.createTopic(session.topic("two"), 2);
        String group = session.group("c");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.newPushConsumer(group, inbox);
        consumer.subscribe(one, "X");
        consumer.start();
        send(producer, one, "X", "one-x");
        send(producer, one, "Y", "not wanted");
        inbox.awaitExactly(List.of("one-x"), Inbox.PATIENCE);
        // Told to the broker at once; the client looks for the route each 30 s. (Another tag of a topic does not concern a pull
        // that waits: it goes on by the old one, past what the new one wants, and so would this scenario.)
        consumer.subscribe(two, "*");
        Await.until("the broker to know", 10, () -> wants(session, group, two));
        send(producer, two, "Z", "two");
        inbox.awaitExactly(List.of("one-x", "two"), 90);
        consumer.unsubscribe(two);
        Await.until("the broker to know that", 60, () -> !wants(session, group, two));
        send(producer, one, "X", "last");
        inbox.awaitExactly(List.of("one-x", "two", "last"), Inbox.PATIENCE);
    }

    private static boolean wants(Session session, String group, String topic) throws Exception {
        return session.admin().examineConsumerConnectionInfo(group).getSubscriptionTable().containsKey(topic);
    }
}
