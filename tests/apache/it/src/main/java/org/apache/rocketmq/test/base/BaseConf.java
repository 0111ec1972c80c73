package org.apache.rocketmq.test.base;

import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;
import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.client.producer.MQProducer;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.common.MQVersion;
import org.apache.rocketmq.common.attribute.CQType;
import org.apache.rocketmq.common.attribute.TopicMessageType;
import org.apache.rocketmq.namesrv.NamesrvController;
import org.apache.rocketmq.remoting.protocol.body.ClusterInfo;
import org.apache.rocketmq.remoting.protocol.subscription.SubscriptionGroupConfig;
import org.apache.rocketmq.test.client.rmq.RMQAsyncSendProducer;
import org.apache.rocketmq.test.client.rmq.RMQNormalConsumer;
import org.apache.rocketmq.test.client.rmq.RMQNormalProducer;
import org.apache.rocketmq.test.client.rmq.RMQTransactionalProducer;
import org.apache.rocketmq.test.clientinterface.AbstractMQConsumer;
import org.apache.rocketmq.test.clientinterface.AbstractMQProducer;
import org.apache.rocketmq.test.factory.ConsumerFactory;
import org.apache.rocketmq.test.listener.AbstractListener;
import org.apache.rocketmq.test.util.MQAdminTestUtils;
import org.apache.rocketmq.test.util.MQRandomUtils;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;
import org.apache.rocketmq.tools.admin.MQAdminExt;
import org.awaitility.Awaitility;

/**
 * What Apache's integration tests inherit, for a cluster that runs outside of this JVM: found on the class path before Apache's class of
 * this name, which starts a name server and three brokers here. The name server is the system property `it.namesrv`.
 * Names and types are those that the tests refer to; of a broker's inside there is what `Outside` says, and null.
 */
public class BaseConf {
    public static final String NAMESRV_ADDR = System.getProperty("it.namesrv");
    protected static final String CLUSTER_NAME;
    protected static final String BROKER1_NAME;
    protected static final String BROKER2_NAME;
    protected static final String BROKER3_NAME;
    protected static final int BROKER_NUM = 3;
    protected static final int WAIT_TIME = 5;
    protected static final int CONSUME_TIME = 120_000;
    protected static final int QUEUE_NUMBERS = 8;
    protected static NamesrvController namesrvController;
    protected static BrokerController brokerController1;
    protected static BrokerController brokerController2;
    protected static BrokerController brokerController3;
    protected static List<BrokerController> brokerControllerList;
    protected static Map<String, BrokerController> brokerControllerMap;
    /** Whatever `shutdown` has to end. */
    protected static List<Object> mqClients = new CopyOnWriteArrayList<>();
    protected static boolean debug;

    static {
        // As the servers' start does, without which no request says which version it is of.
        System.setProperty("rocketmq.remoting.version", Integer.toString(MQVersion.CURRENT_VERSION));
        IntegrationTestBase.initMQAdmin(NAMESRV_ADDR);
        ClusterInfo cluster = MQAdminTestUtils.getCluster(NAMESRV_ADDR);
        List<String> names = new ArrayList<>(new TreeSet<>(cluster.getBrokerAddrTable().keySet()));
        if (names.size() != BROKER_NUM) {
            throw new IllegalStateException("the tests need three brokers, there are " + names);
        }
        CLUSTER_NAME = cluster.getClusterAddrTable().keySet().iterator().next();
        BROKER1_NAME = names.get(0);
        BROKER2_NAME = names.get(1);
        BROKER3_NAME = names.get(2);
        brokerControllerMap = new LinkedHashMap<>();
        names.forEach(name -> brokerControllerMap.put(name, Outside.controller(cluster.getBrokerAddrTable().get(name))));
        brokerControllerList = List.copyOf(brokerControllerMap.values());
        brokerController1 = brokerControllerMap.get(BROKER1_NAME);
        brokerController2 = brokerControllerMap.get(BROKER2_NAME);
        brokerController3 = brokerControllerMap.get(BROKER3_NAME);
    }

    public static void waitBrokerRegistered(String nsAddr, String clusterName, int expected) {
        DefaultMQAdminExt admin = getAdmin(nsAddr);
        try {
            admin.start();
            Awaitility.await().atMost(Duration.ofSeconds(30)).until(() -> {
                Set<String> known = admin.examineBrokerClusterInfo().getClusterAddrTable().get(clusterName);
                return known != null && known.size() == expected;
            });
        } catch (Exception e) {
            throw new IllegalStateException(e);
        } finally {
            admin.shutdown();
        }
    }

    /** An acknowledged message is in its queue and in the index: there is nothing to wait for. */
    public boolean awaitDispatchMs(long timeMs) {
        return true;
    }

    public static String initTopic() {
        return initTopicWithName(MQRandomUtils.getRandomTopic());
    }

    public static String initTopic(TopicMessageType type) {
        return initTopicWithName(MQRandomUtils.getRandomTopic(), type);
    }

    public static String initTopicWithName(String topic) {
        IntegrationTestBase.initTopic(topic, NAMESRV_ADDR, CLUSTER_NAME, CQType.SimpleCQ);
        return topic;
    }

    public static String initTopicWithName(String topic, TopicMessageType type) {
        IntegrationTestBase.initTopic(topic, NAMESRV_ADDR, CLUSTER_NAME, type);
        return topic;
    }

    /** Where the topic `sample` is: on the cluster or the broker of that name. */
    public static String initTopicOnSampleTopicBroker(String sample) {
        return initTopicOnSampleTopicBroker(MQRandomUtils.getRandomTopic(), sample);
    }

    public static String initTopicOnSampleTopicBroker(String sample, TopicMessageType type) {
        return initTopicOnSampleTopicBroker(MQRandomUtils.getRandomTopic(), sample, type);
    }

    public static String initTopicOnSampleTopicBroker(String topic, String sample) {
        IntegrationTestBase.initTopic(topic, NAMESRV_ADDR, sample, CQType.SimpleCQ);
        return topic;
    }

    public static String initTopicOnSampleTopicBroker(String topic, String sample, TopicMessageType type) {
        IntegrationTestBase.initTopic(topic, NAMESRV_ADDR, sample, type);
        return topic;
    }

    public static String initConsumerGroup() {
        return initConsumerGroup(MQRandomUtils.getRandomConsumerGroup());
    }

    public static String initConsumerGroup(String group) {
        SubscriptionGroupConfig config = new SubscriptionGroupConfig();
        config.setGroupName(group);
        return initConsumerGroup(config);
    }

    public static String initConsumerGroup(SubscriptionGroupConfig config) {
        MQAdminTestUtils.createSub(NAMESRV_ADDR, CLUSTER_NAME, config);
        return config.getGroupName();
    }

    private static <T> T ended(T client) {
        mqClients.add(client);
        return client;
    }

    public static DefaultMQAdminExt getAdmin(String nsAddr) {
        DefaultMQAdminExt admin = new DefaultMQAdminExt(3000);
        admin.setNamesrvAddr(nsAddr);
        admin.setPollNameServerInterval(100);
        return ended(admin);
    }

    public static RMQNormalProducer getProducer(String nsAddr, String topic) {
        return getProducer(nsAddr, topic, false);
    }

    public static RMQNormalProducer getProducer(String nsAddr, String topic, boolean useTls) {
        RMQNormalProducer producer = new RMQNormalProducer(nsAddr, topic, useTls);
        if (debug) {
            producer.setDebug();
        }
        return ended(producer);
    }

    public static RMQNormalProducer getProducer(String nsAddr, String topic, String group, String instance) {
        RMQNormalProducer producer = new RMQNormalProducer(nsAddr, topic, group, instance);
        if (debug) {
            producer.setDebug();
        }
        return ended(producer);
    }

    public static RMQTransactionalProducer getTransactionalProducer(String nsAddr, String topic, TransactionListener listener) {
        RMQTransactionalProducer producer = new RMQTransactionalProducer(nsAddr, topic, false, listener);
        if (debug) {
            producer.setDebug();
        }
        return ended(producer);
    }

    public static RMQAsyncSendProducer getAsyncProducer(String nsAddr, String topic) {
        RMQAsyncSendProducer producer = new RMQAsyncSendProducer(nsAddr, topic);
        if (debug) {
            producer.setDebug();
        }
        return ended(producer);
    }

    public static RMQNormalConsumer getConsumer(String nsAddr, String topic, String expression, AbstractListener listener) {
        return getConsumer(nsAddr, topic, expression, listener, false);
    }

    public static RMQNormalConsumer getConsumer(String nsAddr, String topic, String expression, AbstractListener listener,
        boolean useTls) {
        return getConsumer(nsAddr, initConsumerGroup(), topic, expression, listener, useTls);
    }

    public static RMQNormalConsumer getConsumer(String nsAddr, String group, String topic, String expression,
        AbstractListener listener) {
        return getConsumer(nsAddr, group, topic, expression, listener, false);
    }

    public static RMQNormalConsumer getConsumer(String nsAddr, String group, String topic, String expression,
        AbstractListener listener, boolean useTls) {
        RMQNormalConsumer consumer = ConsumerFactory.getRMQNormalConsumer(nsAddr, group, topic, expression, listener, useTls);
        if (debug) {
            consumer.setDebug();
        }
        return ended(consumer);
    }

    public static Set<String> getBrokers() {
        return new TreeSet<>(List.of(BROKER1_NAME, BROKER2_NAME, BROKER3_NAME));
    }

    public static void shutdown() {
        List<Object> ending = List.copyOf(mqClients);
        mqClients.clear();
        shutdown(ending);
    }

    public static void shutdown(List<Object> clients) {
        for (Object client : clients) {
            if (client instanceof AbstractMQProducer producer) {
                producer.shutdown();
            } else if (client instanceof AbstractMQConsumer consumer) {
                consumer.shutdown();
            } else if (client instanceof MQAdminExt admin) {
                admin.shutdown();
            } else if (client instanceof MQProducer producer) {
                producer.shutdown();
            }
        }
    }
}
