package clients;

import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Every property of a message that came by a detour: no more and no less than Apache leaves in it. */
final class Delivered {
    /** Stands for whatever value. */
    static final String ANY = "*";
    /** What the client adds to what it has received. */
    private static final List<String> OF_THE_CLIENT = List.of("MIN_OFFSET", "MAX_OFFSET", "CONSUME_START_TIME");

    private Delivered() {}

    /** A message with a key, a tag and a property of its own. */
    static Message message(String topic, String text) {
        Message message = Texts.message(topic, text);
        message.setTags("T");
        message.setKeys("K");
        message.putUserProperty("own", "value");
        return message;
    }

    /** Those of `message`, and those that are named and their values. */
    static void unlessHas(MessageExt message, String... pairs) throws Failure {
        Map<String, String> expected = new TreeMap<>(Map.of("TAGS", "T", "KEYS", "K", "own", "value",
            "UNIQ_KEY", message.getMsgId(), "CLUSTER", ANY, "MSG_REGION", ANY, "TRACE_ON", ANY, "WAIT", "true"));
        for (int i = 0; i < pairs.length; i += 2) {
            expected.put(pairs[i], pairs[i + 1]);
        }
        Map<String, String> seen = new TreeMap<>(message.getProperties());
        OF_THE_CLIENT.forEach(seen::remove);
        expected.forEach((name, value) -> {
            if (value.equals(ANY)) {
                seen.computeIfPresent(name, (present, any) -> ANY);
            }
        });
        Failure.unlessEqual(expected, seen, "properties of \"" + Texts.text(message) + "\"");
    }

    static void byLevel(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        Texts.stored(producer.send(message(queue.getTopic(), "at once")));
        Message later = message(queue.getTopic(), "by level");
        later.setDelayTimeLevel(1);
        // A level beats it.
        MessageAccessor.putProperty(later, "TIMER_DELIVER_MS", Long.toString(System.currentTimeMillis() + 60_000));
        Texts.stored(producer.send(later));
        List<MessageExt> came = Texts.read(session.pullConsumer(session.group("reader")), queue, 0, 2);
        unlessHas(came.get(0));
        unlessHas(came.get(1), "DELAY", "1", "REAL_TOPIC", queue.getTopic(), "REAL_QID", "0");
    }

    static void again(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        String group = session.group("c");
        DefaultMQPushConsumer consumer = Retrying.consumer(session, group, queue.getTopic());
        consumer.setMaxReconsumeTimes(1);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) ->
            ConsumeConcurrentlyStatus.RECONSUME_LATER);
        consumer.start();
        String id = Texts.stored(producer.send(message(queue.getTopic(), "again"))).getOffsetMsgId();
        DefaultMQPullConsumer reader = session.pullConsumer(session.group("reader"));
        String retry = "%RETRY%" + group;
        String[] retried = {"RETRY_TOPIC", queue.getTopic(), "ORIGIN_MESSAGE_ID", id, "WAIT", "false",
            "REAL_TOPIC", retry, "REAL_QID", "0", "DELAY", "3"};
        unlessHas(only(session, reader, retry, queue), retried);
        retried[retried.length - 1] = "0";
        unlessHas(only(session, reader, "%DLQ%" + group, queue), retried);
    }

    static void committed(Session session) throws Exception {
        String group = session.group("p");
        TransactionMQProducer producer =
            session.transactionProducer(group, new Transacting.Fates(LocalTransactionState.COMMIT_MESSAGE));
        MessageQueue queue = session.createQueue(producer);
        for (LocalTransactionState fate : List.of(LocalTransactionState.COMMIT_MESSAGE, LocalTransactionState.UNKNOW)) {
            Texts.stored(producer.sendMessageInTransaction(message(queue.getTopic(), fate.name()), fate));
        }
        // The second comes when its producer was asked, on Apache after up to 36 s.
        Await.until("both messages", 90, () -> session.admin().maxOffset(queue) == 2);
        List<MessageExt> came = Texts.read(session.pullConsumer(session.group("reader")), queue, 0, 2);
        unlessHas(came.get(0), "TRAN_MSG", "true", "PGROUP", group, "__transactionId__", came.get(0).getMsgId());
        unlessHas(came.get(1), "TRAN_MSG", "true", "PGROUP", group, "__transactionId__", came.get(1).getMsgId(),
            "TRANSACTION_CHECK_TIMES", "1");
    }

    /** The first message of a topic that the broker makes, with one queue that counts. */
    private static MessageExt only(Session session, DefaultMQPullConsumer reader, String topic, MessageQueue like)
        throws Exception {
        Await.until("the route of " + topic, 60,
            () -> !session.admin().examineTopicRouteInfo(topic).getQueueDatas().isEmpty());
        return Texts.read(reader, new MessageQueue(topic, like.getBrokerName(), 0), 0, 1).get(0);
    }
}
