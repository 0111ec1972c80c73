package clients;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.body.CMResult;
import org.apache.rocketmq.remoting.protocol.body.ConsumeMessageDirectlyResult;
import org.apache.rocketmq.remoting.protocol.body.ConsumerRunningInfo;

/** What an administrator asks a consumer through the broker. */
final class Asking {
    private Asking() {}

    private static String clientId(DefaultMQPushConsumer consumer) {
        return consumer.getDefaultMQPushConsumerImpl().getmQClientFactory().getClientId();
    }

    /** The administration client finds the broker by the group's retry topic. */
    private static void awaitGroup(Session session, String group) throws Exception {
        Await.until("the retry topic's route", 30,
            () -> !session.admin().examineTopicRouteInfo("%RETRY%" + group).getQueueDatas().isEmpty());
    }

    static void runningInfo(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(4);
        String group = session.group("c");
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.pushConsumer(group, topic, inbox);
        inbox.awaitExactly(Texts.send(producer, topic, "m", 20), Inbox.PATIENCE);
        awaitGroup(session, group);
        Await.until("all queues", 15, () -> Queues.owned(consumer, topic).size() == 4);

        ConsumerRunningInfo info = session.admin().getConsumerRunningInfo(group, clientId(consumer), false);
        Failure.unless(info.getSubscriptionSet().stream().anyMatch(data -> data.getTopic().equals(topic)),
            "the topic is not among " + info.getSubscriptionSet());
        long queues = info.getMqTable().keySet().stream().filter(queue -> queue.getTopic().equals(topic)).count();
        Failure.unlessEqual(4L, queues, "queues of the topic");
        Failure.unlessEqual("CONSUME_PASSIVELY", info.getProperties().getProperty("PROP_CONSUME_TYPE"), "how it consumes");
        Failure.unless(info.getJstack() == null || info.getJstack().isEmpty(), "threads that were not asked for");
        ConsumerRunningInfo withThreads = session.admin().getConsumerRunningInfo(group, clientId(consumer), true);
        Failure.unless(withThreads.getJstack().contains("ConsumeMessageThread"), "its threads: " + withThreads.getJstack());
        try {
            session.admin().getConsumerRunningInfo(group, "nobody", false);
            throw new Failure("a client that is not there has told of itself");
        } catch (MQClientException refused) {
            Failure.unlessEqual(ResponseCode.SYSTEM_ERROR, refused.getResponseCode(), "code for a client that is not online");
            Failure.unless(refused.getErrorMessage().contains("nobody"), "remark: " + refused.getErrorMessage());
        }
    }

    /** A message that is there already is given to one consumer again, and what it made of it comes back. */
    static void consumeDirectly(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(2);
        String group = session.group("c");
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        DefaultMQPushConsumer consumer = session.newPushConsumer(group, null);
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            String text = Texts.text(messages.get(0));
            seen.add(text);
            // The second time it does not like it.
            return Collections.frequency(seen, text) == 2
                ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.subscribe(topic, "*");
        consumer.start();
        SendResult sent = Texts.stored(producer.send(Texts.message(topic, "direct")));
        Await.until("the message", Inbox.PATIENCE, () -> seen.size() == 1);
        awaitGroup(session, group);

        for (CMResult expected : new CMResult[] {CMResult.CR_LATER, CMResult.CR_SUCCESS}) {
            ConsumeMessageDirectlyResult result =
                session.admin().consumeMessageDirectly(group, clientId(consumer), topic, sent.getOffsetMsgId());
            Failure.unlessEqual(expected, result.getConsumeResult(), "what the consumer made of it");
            Failure.unless(!result.isOrder(), "it does not consume in order");
        }
        Failure.unlessEqual(List.of("direct", "direct", "direct"), List.copyOf(seen), "what the listener was given");
    }
}
