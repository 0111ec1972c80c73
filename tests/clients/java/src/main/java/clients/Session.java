package clients;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.rocketmq.client.ClientConfig;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.constant.PermName;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.body.ClusterInfo;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * What one scenario works with: names of its own, and clients that are all shut down at its end in
 * reverse order. Every client has an instance name of its own, so that two consumers of one JVM are
 * two clients to the broker.
 */
final class Session implements AutoCloseable {
    private static final AtomicInteger CLIENTS = new AtomicInteger();
    private static final String RUN =
        Long.toString(System.currentTimeMillis(), 36) + Long.toString(ProcessHandle.current().pid(), 36);

    final String namesrv;
    private final String scenario;
    private final Deque<Runnable> shutdowns = new ArrayDeque<>();
    private DefaultMQAdminExt admin;

    Session(String namesrv, String scenario) {
        this.namesrv = namesrv;
        this.scenario = scenario;
    }

    /** A topic name of this run and scenario. */
    String topic() {
        return topic("t");
    }

    String topic(String hint) {
        return scenario + "-" + hint + "-" + RUN;
    }

    String group(String hint) {
        return "G-" + scenario + "-" + hint + "-" + RUN;
    }

    DefaultMQProducer producer() throws Exception {
        DefaultMQProducer producer = newProducer();
        producer.start();
        answered(producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl());
        return producer;
    }

    /**
     * With several name servers the client begins with any of them and turns to the next only after a
     * request has failed; this lets that happen before the scenario's own requests.
     */
    private static void answered(MQClientAPIImpl api) throws Exception {
        Await.until("a name server that answers", 15, () -> !api.getBrokerClusterInfo(5000).getBrokerAddrTable().isEmpty());
    }

    /** Not started, to be configured further. */
    DefaultMQProducer newProducer() {
        DefaultMQProducer producer = configure(new DefaultMQProducer(group("producer")));
        producer.setSendMsgTimeout(10_000);
        shutdowns.push(producer::shutdown);
        return producer;
    }

    TransactionMQProducer transactionProducer(String group, TransactionListener listener) throws Exception {
        TransactionMQProducer producer = configure(new TransactionMQProducer(group));
        producer.setSendMsgTimeout(10_000);
        producer.setTransactionListener(listener);
        shutdowns.push(producer::shutdown);
        producer.start();
        answered(producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl());
        return producer;
    }

    /** Not started; reads from the first message and hands everything to the inbox. */
    DefaultMQPushConsumer newPushConsumer(String group, Inbox inbox) {
        DefaultMQPushConsumer consumer = configure(new DefaultMQPushConsumer(group));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        // Otherwise a listener that has just told the scenario of its messages may not have told the client that
        // they are consumed when the client commits for the last time: they would come again.
        consumer.setAwaitTerminationMillisWhenShutdown(10_000);
        if (inbox != null) {
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                inbox.addAll(messages);
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
        }
        shutdowns.push(consumer::shutdown);
        return consumer;
    }

    DefaultMQPushConsumer pushConsumer(String group, String topic, Inbox inbox) throws Exception {
        DefaultMQPushConsumer consumer = newPushConsumer(group, inbox);
        consumer.subscribe(topic, "*");
        consumer.start();
        return consumer;
    }

    DefaultMQPullConsumer pullConsumer(String group) throws Exception {
        DefaultMQPullConsumer consumer = configure(new DefaultMQPullConsumer(group));
        shutdowns.push(consumer::shutdown);
        consumer.start();
        return consumer;
    }

    /** Not started. */
    DefaultLitePullConsumer newLitePullConsumer(String group) {
        DefaultLitePullConsumer consumer = configure(new DefaultLitePullConsumer(group));
        consumer.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        shutdowns.push(consumer::shutdown);
        return consumer;
    }

    DefaultMQAdminExt admin() throws Exception {
        if (admin == null) {
            DefaultMQAdminExt started = configure(new DefaultMQAdminExt(10_000));
            started.setAdminExtGroup(group("admin"));
            started.start();
            shutdowns.push(started::shutdown);
            Await.until("a name server that answers", 15,
                () -> !started.examineBrokerClusterInfo().getBrokerAddrTable().isEmpty());
            admin = started;
        }
        return admin;
    }

    /** Addresses of all masters, as the name server knows them. */
    List<String> masters() throws Exception {
        ClusterInfo cluster = admin().examineBrokerClusterInfo();
        List<String> masters = new ArrayList<>();
        for (BrokerData broker : cluster.getBrokerAddrTable().values()) {
            if (broker.getBrokerAddrs().containsKey(0L)) {
                masters.add(broker.getBrokerAddrs().get(0L));
            }
        }
        Failure.unless(!masters.isEmpty(), "the name server knows no master broker");
        return masters;
    }

    /** A topic made by the administration client; returns once its route can be read. */
    String createTopic(int queues) throws Exception {
        return createTopic(topic(), queues);
    }

    String createTopic(String topic, int queues) throws Exception {
        for (String broker : masters()) {
            admin().createAndUpdateTopicConfig(broker, new TopicConfig(topic, queues, queues, PermName.PERM_READ | PermName.PERM_WRITE));
        }
        Await.until("route of " + topic, 15,
            () -> !admin().examineTopicRouteInfo(topic).getQueueDatas().isEmpty());
        return topic;
    }

    /** A topic with one queue, and that queue. */
    MessageQueue createQueue(DefaultMQProducer producer) throws Exception {
        return createQueue(producer, topic());
    }

    MessageQueue createQueue(DefaultMQProducer producer, String topic) throws Exception {
        createTopic(topic, 1);
        return producer.fetchPublishMessageQueues(topic).get(0);
    }

    private <C extends ClientConfig> C configure(C client) {
        client.setNamesrvAddr(namesrv);
        client.setInstanceName(scenario + "-" + CLIENTS.incrementAndGet());
        client.setMqClientApiTimeout(10_000);
        return client;
    }

    @Override
    public void close() {
        while (!shutdowns.isEmpty()) {
            try {
                shutdowns.pop().run();
            } catch (RuntimeException e) {
                // shutting one client down twice is allowed; another failure must not keep the rest alive
                System.err.println(scenario + ": shutdown: " + e);
            }
        }
    }
}
