package clients;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The client's own message trace, in the topic that it takes if it is given none. */
final class Tracing {
    private static final String TOPIC = "RMQ_SYS_TRACE_TOPIC";

    private Tracing() {}

    /** Who sends and who consumes both write of a message, and the traces are found by its id. */
    static void trace(Session session) throws Exception {
        String topic = session.createTopic(2);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.newPushConsumer(session.group("c"), inbox);
        consumer.setEnableTrace(true);
        consumer.subscribe(topic, "*");
        consumer.start();
        DefaultMQProducer producer = session.newProducer();
        producer.setEnableTrace(true);
        producer.start();
        String id = Texts.stored(producer.send(Texts.message(topic, "traced"))).getMsgId();
        inbox.awaitExactly(List.of("traced"), Inbox.PATIENCE);
        DefaultMQPullConsumer reader = session.pullConsumer(session.group("reader"));
        Set<MessageQueue> queues =
            Await.value("the trace topic", 30, () -> reader.fetchSubscribeMessageQueues(TOPIC));
        Map<MessageQueue, Long> next = new HashMap<>();
        Set<String> found = new TreeSet<>();
        Await.until("traces of the send and of the consumption", 60, () -> {
            for (MessageQueue queue : queues) {
                PullResult result = reader.pull(queue, "*", next.getOrDefault(queue, 0L), 32);
                next.put(queue, result.getNextBeginOffset());
                if (result.getPullStatus() == PullStatus.FOUND) {
                    for (MessageExt trace : result.getMsgFoundList()) {
                        if (Texts.text(trace).contains(id)) {
                            Failure.unless(trace.getKeys().contains(id), "a trace has no key " + id);
                            kinds(Texts.text(trace), id, found);
                        }
                    }
                }
            }
            return found.containsAll(Set.of("Pub", "SubBefore", "SubAfter"));
        });
        Failure.unless(!session.admin().queryMessage(TOPIC, id, 10, 0, Long.MAX_VALUE).getMessageList().isEmpty(),
            "no trace is found by the key " + id);
    }

    /** The kinds of the traces that tell of this message; one message has several traces. */
    private static void kinds(String text, String id, Set<String> found) {
        for (String trace : text.split("\u0002")) {
            if (trace.contains(id)) {
                found.add(trace.split("\u0001")[0]);
            }
        }
    }
}
