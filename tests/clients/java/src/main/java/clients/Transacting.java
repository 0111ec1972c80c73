package clients;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.sysflag.MessageSysFlag;

/** Transactions: what is seen when, and who is asked. The broker asks first after 6 s, its default. */
final class Transacting {
    private Transacting() {}

    /** Says at once what each text's fate is, and later what the check's is; notes what it was asked. */
    static final class Fates implements TransactionListener {
        final Map<String, Integer> asked = new ConcurrentHashMap<>();
        private final LocalTransactionState later;

        Fates(LocalTransactionState later) {
            this.later = later;
        }

        @Override
        public LocalTransactionState executeLocalTransaction(Message message, Object fate) {
            return (LocalTransactionState) fate;
        }

        @Override
        public LocalTransactionState checkLocalTransaction(MessageExt message) {
            asked.merge(Texts.text(message), 1, Integer::sum);
            return later;
        }
    }

    private static void send(TransactionMQProducer producer, String topic, String text, LocalTransactionState fate)
        throws Exception {
        Message message = Texts.message(topic, text);
        message.setTags("T");
        message.setKeys("key-" + text);
        SendResult result = producer.sendMessageInTransaction(message, fate);
        Texts.stored(result);
    }

    static void commit(Session session) throws Exception {
        String topic = session.createTopic(4);
        TransactionMQProducer producer = session.transactionProducer(session.group("p"), new Fates(LocalTransactionState.UNKNOW));
        Inbox inbox = new Inbox();
        session.pushConsumer(session.group("c"), topic, inbox);
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            send(producer, topic, "commit-" + i, LocalTransactionState.COMMIT_MESSAGE);
            texts.add("commit-" + i);
        }
        inbox.awaitExactly(texts, Inbox.PATIENCE);
        for (MessageExt message : inbox.messages()) {
            Failure.unlessEqual("T", message.getTags(), "tags");
            Failure.unlessEqual("key-" + Texts.text(message), message.getKeys(), "keys");
            Failure.unless(message.getProperty("REAL_TOPIC") == null, "a committed message has REAL_TOPIC");
            Failure.unlessEqual(MessageSysFlag.TRANSACTION_COMMIT_TYPE,
                MessageSysFlag.getTransactionValue(message.getSysFlag()), "sysFlag");
            Failure.unless(message.getPreparedTransactionOffset() > 0, "no offset of the half message");
        }
    }

    /** Neither what is rolled back nor what is undecided is seen; what is committed behind them is. */
    static void rollback(Session session) throws Exception {
        String topic = session.createTopic(1);
        Fates fates = new Fates(LocalTransactionState.ROLLBACK_MESSAGE);
        TransactionMQProducer producer = session.transactionProducer(session.group("p"), fates);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.pushConsumer(session.group("c"), topic, inbox);
        MessageQueue queue = producer.fetchPublishMessageQueues(topic).get(0);
        for (int i = 0; i < 5; i++) {
            send(producer, topic, "rolled-back-" + i, LocalTransactionState.ROLLBACK_MESSAGE);
            send(producer, topic, "undecided-" + i, LocalTransactionState.UNKNOW);
        }
        Failure.unlessEqual(0L, session.admin().maxOffset(queue), "max offset before a commit");
        send(producer, topic, "committed", LocalTransactionState.COMMIT_MESSAGE);
        inbox.awaitExactly(List.of("committed"), Inbox.PATIENCE);
        // What was undecided is asked about, and rolled back then.
        Await.until("checks of all that are undecided", 60, () -> fates.asked.size() == 5);
        Failure.unless(fates.asked.keySet().stream().allMatch(text -> text.startsWith("undecided")), "asked: " + fates.asked);
        send(producer, topic, "last", LocalTransactionState.COMMIT_MESSAGE);
        inbox.awaitExactly(List.of("committed", "last"), Inbox.PATIENCE);
        Failure.unlessEqual(1, Queues.owned(consumer, topic).size(), "queues");
    }

    static void checkBack(Session session) throws Exception {
        String topic = session.createTopic(2);
        Fates fates = new Fates(LocalTransactionState.COMMIT_MESSAGE);
        TransactionMQProducer producer = session.transactionProducer(session.group("p"), fates);
        Inbox inbox = new Inbox();
        session.pushConsumer(session.group("c"), topic, inbox);
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < 10; i++) {
            send(producer, topic, "check-" + i, LocalTransactionState.UNKNOW);
            texts.add("check-" + i);
        }
        inbox.awaitExactly(texts, 90);
        Failure.unlessEqual(texts.size(), fates.asked.size(), "messages that were asked about");
    }

    /** The producer that sent it is gone: another one of its group is asked. */
    static void checkOtherProducer(Session session) throws Exception {
        String topic = session.createTopic(2);
        String group = session.group("p");
        TransactionMQProducer gone = session.transactionProducer(group, new Fates(LocalTransactionState.ROLLBACK_MESSAGE));
        send(gone, topic, "left-behind", LocalTransactionState.UNKNOW);
        gone.shutdown();
        Fates fates = new Fates(LocalTransactionState.COMMIT_MESSAGE);
        TransactionMQProducer another = session.transactionProducer(group, fates);
        // A producer that has sent nothing knows no broker to beat to.
        Texts.stored(another.send(Texts.message(session.createTopic(session.topic("other"), 1), "hello")));
        Await.until("a heartbeat", 10,
            () -> Heartbeat.sent(another.getDefaultMQProducerImpl().getMqClientFactory()));
        Inbox inbox = new Inbox();
        session.pushConsumer(session.group("c"), topic, inbox);
        inbox.awaitExactly(List.of("left-behind"), 90);
        Failure.unlessEqual(1, fates.asked.get("left-behind"), "checks");
    }
}
