package clients;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullCallback;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.body.RegisterBrokerBody;
import org.apache.rocketmq.remoting.protocol.body.TopicConfigAndMappingSerializeWrapper;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.namesrv.RegisterBrokerRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.namesrv.UnRegisterBrokerRequestHeader;

/**
 * One pass over every request that normal messages and their consumption need, for the capture of
 * golden frames. It checks little: its product is the traffic, and the first exchange of each kind
 * is what gets kept.
 */
public final class Traffic {
    private final Session session;
    private final DefaultMQProducer producer;

    private Traffic(Session session) throws Exception {
        this.session = session;
        this.producer = session.producer();
    }

    public static void main(String[] args) throws Exception {
        try (Session session = new Session(args[0], "golden")) {
            new Traffic(session).run();
        }
        System.out.println("done");
        System.exit(0);
    }

    private void run() throws Exception {
        session.masters();
        session.admin().fetchAllTopicList();
        try {
            session.admin().examineTopicRouteInfo(session.topic("unknown"));
            throw new Failure("an unknown topic has a route");
        } catch (MQClientException expected) {
            // TOPIC_NOT_EXIST is the frame wanted
        }
        MessageQueue queue = session.createQueue(producer);
        sends(queue);
        pulls(queue);
        push();
        orderly();
        litePull(queue);
        session.admin().getBrokerConfig(session.masters().get(0));
        registerCompressed();
    }

    /**
     * A broker's registration with a compressed body, and its unregistration. Apache's broker 5.5.0
     * announces every body as uncompressed (BrokerOuterAPI#registerBrokerAll), so what its name
     * server understands as compressed has to be built here, from Apache's own classes.
     */
    private void registerCompressed() throws Exception {
        String name = session.topic("broker");
        RegisterBrokerBody body = new RegisterBrokerBody();
        TopicConfigAndMappingSerializeWrapper topics = new TopicConfigAndMappingSerializeWrapper();
        for (int i = 1; i <= 3; i++) {
            TopicConfig topic = new TopicConfig(session.topic("registered" + i), i, i);
            topic.getAttributes().put("+message.type", "NORMAL");
            topics.getTopicConfigTable().put(topic.getTopicName(), topic);
        }
        body.setTopicConfigSerializeWrapper(topics);
        byte[] bytes = body.encode(true);
        RegisterBrokerRequestHeader header = new RegisterBrokerRequestHeader();
        header.setBrokerName(name);
        header.setBrokerAddr("127.0.0.3:10911");
        header.setHaServerAddr("127.0.0.3:10912");
        header.setClusterName("golden");
        header.setBrokerId(0L);
        header.setEnableActingMaster(false);
        header.setHeartbeatTimeoutMillis(120_000L);
        header.setCompressed(true);
        header.setBodyCrc32(UtilAll.crc32(bytes));
        RemotingCommand register = RemotingCommand.createRequestCommand(RequestCode.REGISTER_BROKER, header);
        register.setBody(bytes);
        Raw raw = new Raw(producer);
        Failure.unlessEqual(0, raw.invoke(session.namesrv, register).getCode(), "answer to the registration");
        UnRegisterBrokerRequestHeader gone = new UnRegisterBrokerRequestHeader();
        gone.setBrokerName(name);
        gone.setBrokerAddr("127.0.0.3:10911");
        gone.setClusterName("golden");
        gone.setBrokerId(0L);
        raw.invoke(session.namesrv, RemotingCommand.createRequestCommand(RequestCode.UNREGISTER_BROKER, gone));
    }

    private static byte[] body(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private void sends(MessageQueue queue) throws Exception {
        String topic = queue.getTopic();
        Message message = new Message(topic, "TagA", "key1 key2", body("one message with properties"));
        message.putUserProperty("colour", "grün");
        message.putUserProperty("empty-value-follows", "x");
        message.setFlag(7);
        producer.send(message, queue);
        producer.sendOneway(new Message(topic, "TagB", body("one way")), queue);
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            batch.add(new Message(topic, "TagA", "batch" + i, body("batch item " + i)));
        }
        producer.send(batch, queue);
        Raw raw = new Raw(producer);
        String broker = raw.brokerOf(queue);
        raw.send(broker, "no such character!", "TBW102", 0, body("x"));
        raw.send(broker, topic, "TBW102", 0, null);
        raw.send(broker, topic, "TBW102", 99, body("x"));
        raw.send(broker, session.topic("untemplated"), "no-template", 0, body("x"));
        Await.until("five messages", 10, () -> session.admin().maxOffset(queue) == 5);
    }

    private void pulls(MessageQueue queue) throws Exception {
        DefaultMQPullConsumer consumer = session.pullConsumer(session.group("pull"));
        consumer.fetchSubscribeMessageQueues(queue.getTopic());
        consumer.pull(queue, "*", 0, 32);
        consumer.pull(queue, "TagA || TagC", 0, 32);
        consumer.pull(queue, "TagNone", 0, 32);
        consumer.pull(queue, "*", 5, 32);
        consumer.pull(queue, "*", 1000, 32);
        consumer.minOffset(queue);
        consumer.maxOffset(queue);
        consumer.searchOffset(queue, System.currentTimeMillis() - 3_600_000);
        consumer.earliestMsgStoreTime(queue);
        consumer.updateConsumeOffset(queue, 3);
        consumer.getDefaultMQPullConsumerImpl().getOffsetStore().updateConsumeOffsetToBroker(queue, 3, false);
        consumer.fetchConsumeOffset(queue, true);
        QueryConsumerOffsetRequestHeader absent = new QueryConsumerOffsetRequestHeader();
        absent.setConsumerGroup(session.group("pull-absent"));
        absent.setTopic(queue.getTopic());
        absent.setQueueId(queue.getQueueId());
        absent.setSetZeroIfNotFound(false);
        Raw raw = new Raw(producer);
        raw.invoke(raw.brokerOf(queue), RemotingCommand.createRequestCommand(RequestCode.QUERY_CONSUMER_OFFSET, absent));
        held(consumer, queue);
    }

    /** A pull that the broker holds until a message arrives. */
    private void held(DefaultMQPullConsumer consumer, MessageQueue queue) throws Exception {
        CountDownLatch answered = new CountDownLatch(1);
        consumer.pullBlockIfNotFound(queue, "*", 5, 32, new PullCallback() {
            @Override
            public void onSuccess(PullResult result) {
                answered.countDown();
            }

            @Override
            public void onException(Throwable e) {
                System.err.println("held pull: " + e);
            }
        });
        if (answered.await(1500, TimeUnit.MILLISECONDS)) {
            throw new Failure("a pull at the end of the queue was answered at once");
        }
        producer.send(new Message(queue.getTopic(), "TagA", body("wakes the held pull")), queue);
        if (!answered.await(10, TimeUnit.SECONDS)) {
            throw new Failure("the held pull was not woken");
        }
    }

    /** Two clustering consumers; one message is sent back for a retry. */
    private void push() throws Exception {
        String topic = session.createTopic(session.topic("push"), 4);
        String group = session.group("push");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer first = session.newPushConsumer(group, null);
        first.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            inbox.addAll(messages);
            return messages.get(0).getReconsumeTimes() == 0
                ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        first.subscribe(topic, "TagA || TagB");
        first.start();
        producer.send(new Message(topic, "TagA", body("consumed later")));
        inbox.awaitMoreThan(0, 20);
        DefaultMQPushConsumer second = session.newPushConsumer(group, inbox);
        second.subscribe(topic, "TagA || TagB");
        second.start();
        Await.until("both have queues", 20, () -> Queues.owned(first, topic).size() == 2
            && Queues.owned(second, topic).size() == 2);
        second.shutdown();
        Await.until("the first has all queues", 20, () -> Queues.owned(first, topic).size() == 4);
        first.shutdown();
    }

    private void orderly() throws Exception {
        String topic = session.createTopic(session.topic("orderly"), 2);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.newPushConsumer(session.group("orderly"), null);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            inbox.addAll(messages);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.subscribe(topic, "*");
        consumer.start();
        producer.send(new Message(topic, body("in order")));
        inbox.awaitMoreThan(0, 30);
        consumer.shutdown();
    }

    private void litePull(MessageQueue queue) throws Exception {
        DefaultLitePullConsumer consumer = session.newLitePullConsumer(session.group("lite"));
        consumer.setAutoCommit(false);
        consumer.start();
        consumer.assign(Set.of(queue));
        consumer.seek(queue, 1);
        Await.until("lite pull", 20, () -> !consumer.poll(1000).isEmpty());
        consumer.commitSync();
        consumer.shutdown();
    }
}
