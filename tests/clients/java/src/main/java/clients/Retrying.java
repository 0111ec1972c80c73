package clients;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Messages that cannot be consumed: tried again later, and dead letters at last. */
final class Retrying {
    private Retrying() {}

    /** Every attempt at a message: its body, how often it was tried before, and when. */
    private static final class Attempts {
        private final List<MessageExt> messages = Collections.synchronizedList(new ArrayList<>());
        private final List<Long> times = Collections.synchronizedList(new ArrayList<>());

        void add(MessageExt message) {
            times.add(System.currentTimeMillis());
            messages.add(message);
        }

        void await(int count, long seconds) throws Exception {
            Await.until(count + " attempts", seconds, () -> messages.size() >= count);
        }
    }

    /**
     * A consumer whose group's retry topic is known before it starts. A group that is new learns its route up to
     * 45 s after its first message (the client looks for new topics each 30 s and shares queues each 20 s).
     */
    static DefaultMQPushConsumer consumer(Session session, String group, String topic) throws Exception {
        DefaultMQPushConsumer first = session.pushConsumer(group, topic, new Inbox());
        Await.until("the retry topic's route", 30,
            () -> !session.admin().examineTopicRouteInfo("%RETRY%" + group).getQueueDatas().isEmpty());
        first.shutdown();
        DefaultMQPushConsumer consumer = session.newPushConsumer(group, null);
        consumer.subscribe(topic, "*");
        consumer.setConsumeMessageBatchMaxSize(1);
        return consumer;
    }

    /** Two retries, then the dead letter topic has it; a message that can be consumed comes once. */
    static void retryThenDeadLetter(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(2);
        String group = session.group("c");
        Attempts attempts = new Attempts();
        DefaultMQPushConsumer consumer = consumer(session, group, topic);
        consumer.setMaxReconsumeTimes(2);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            attempts.add(messages.get(0));
            boolean good = Texts.text(messages.get(0)).startsWith("good");
            return good ? ConsumeConcurrentlyStatus.CONSUME_SUCCESS : ConsumeConcurrentlyStatus.RECONSUME_LATER;
        });
        consumer.start();
        String id = Texts.stored(producer.send(Texts.message(topic, "bad"))).getMsgId();
        Texts.send(producer, topic, "good", 3);
        MessageExt dead = deadLetter(session, producer, group, topic);
        Failure.unlessEqual("bad", Texts.text(dead), "the dead letter");
        Failure.unlessEqual(3, dead.getReconsumeTimes(), "its attempts");
        Failure.unlessEqual(topic, dead.getProperty("RETRY_TOPIC"), "its RETRY_TOPIC");
        Failure.unlessEqual(id, dead.getMsgId(), "its id");
        Failure.unlessEqual(6, attempts.messages.size(), "attempts, three of them at the bad message");
        int next = 0;
        for (MessageExt attempt : attempts.messages) {
            Failure.unlessEqual(topic, attempt.getTopic(), "the topic that the listener sees");
            if (Texts.text(attempt).equals("bad")) {
                Failure.unlessEqual(next++, attempt.getReconsumeTimes(), "reconsumeTimes of an attempt");
            }
        }
    }

    /** The consumer says when it wants the message again. */
    static void sendBackLevel(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(1);
        Attempts attempts = new Attempts();
        DefaultMQPushConsumer consumer = consumer(session, session.group("c"), topic);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            attempts.add(messages.get(0));
            context.setDelayLevelWhenNextConsume(1);
            boolean first = messages.get(0).getReconsumeTimes() == 0;
            return first ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.start();
        Texts.send(producer, topic, "again", 1);
        attempts.await(2, 60);
        long between = attempts.times.get(1) - attempts.times.get(0);
        // Level 1 is a second, however the broker is configured; the first level by default would be 3, of ten.
        Failure.unless(between >= 1000 && between < 9000, "came again after " + between + " ms");
        Failure.unlessEqual("again-0", Texts.text(attempts.messages.get(1)), "what came again");
    }

    /** In order: the queue waits for the message that cannot be consumed; given up, it is a dead letter, and the queue goes on. */
    static void orderlySuspendThenDeadLetter(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(1);
        String group = session.group("c");
        Attempts attempts = new Attempts();
        DefaultMQPushConsumer consumer = consumer(session, group, topic);
        consumer.setMaxReconsumeTimes(2);
        consumer.setSuspendCurrentQueueTimeMillis(100);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            attempts.add(messages.get(0));
            boolean bad = Texts.text(messages.get(0)).equals("o-0");
            return bad ? ConsumeOrderlyStatus.SUSPEND_CURRENT_QUEUE_A_MOMENT : ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        Texts.send(producer, topic, "o", 3);
        attempts.await(5, 60);
        List<String> expected = List.of("o-0", "o-0", "o-0", "o-1", "o-2");
        Failure.unlessEqual(expected, Texts.texts(new ArrayList<>(attempts.messages)), "the attempts");
        Failure.unlessEqual("o-0", Texts.text(deadLetter(session, producer, group, topic)), "the dead letter");
        Failure.unlessEqual(5, attempts.messages.size(), "attempts after the dead letter");
    }

    private static MessageExt deadLetter(Session session, DefaultMQProducer producer, String group, String topic)
        throws Exception {
        String name = "%DLQ%" + group;
        Await.until("the dead letter topic", 60,
            () -> !session.admin().examineTopicRouteInfo(name).getQueueDatas().isEmpty());
        MessageQueue like = producer.fetchPublishMessageQueues(topic).get(0);
        DefaultMQPullConsumer reader = session.pullConsumer(session.group("reader"));
        return Texts.read(reader, new MessageQueue(name, like.getBrokerName(), 0), 0, 1).get(0);
    }
}
