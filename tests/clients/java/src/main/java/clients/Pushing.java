package clients;

import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.Lock;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.body.LockBatchRequestBody;
import org.apache.rocketmq.remoting.protocol.heartbeat.MessageModel;

/** Push consumers: held pulls, sharing of queues, broadcasting, tags, order. */
final class Pushing {
    private Pushing() {}

    /** A message that finds the consumer waiting arrives within a second, time and again. */
    static void longPolling(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(2);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.pushConsumer(session.group("c"), topic, inbox);
        long worst = 0;
        for (int i = 0; i < 5; i++) {
            // Out for 1.5 s: held by the broker, and not merely between two pulls.
            Await.until("a held pull for each queue", Inbox.PATIENCE, () -> Queues.waiting(consumer, topic, 2, 1500));
            long sent = System.nanoTime();
            Texts.send(producer, topic, "poll" + i, 1);
            inbox.awaitMoreThan(i, 10);
            worst = Math.max(worst, TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - sent));
        }
        Failure.unless(worst < 1000, "a message arrived " + worst + " ms after it was sent");
    }

    /**
     * However its first heartbeat and its first rebalancing meet, a consumer that starts is given its messages soon:
     * {@link Inbox#PATIENCE} says what goes wrong elsewhere.
     */
    static void starts(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(4);
        List<String> texts = Texts.send(producer, topic, "start", 12);
        for (int round = 0; round < 10; round++) {
            Map<DefaultMQPushConsumer, Inbox> started = new HashMap<>();
            for (String hint : new String[] {"a", "b"}) {
                Inbox inbox = new Inbox();
                started.put(session.pushConsumer(session.group(hint + round), topic, inbox), inbox);
            }
            // The last one as if another heartbeat were under way for as long as it takes.
            Inbox unheard = new Inbox();
            DefaultMQPushConsumer silent = session.pushConsumer(session.group("silent" + round), topic, unheard);
            Lock heartbeats = heartbeats(silent);
            heartbeats.lock();
            try {
                for (Inbox inbox : started.values()) {
                    inbox.awaitExactly(texts, 5);
                }
                unheard.awaitExactly(texts, 5);
            } finally {
                heartbeats.unlock();
            }
            silent.shutdown();
            started.keySet().forEach(DefaultMQPushConsumer::shutdown);
        }
    }

    /** Whoever holds it is the only one to send heartbeats; others that would like to pass over it. */
    private static Lock heartbeats(DefaultMQPushConsumer consumer) throws Exception {
        Field lock = MQClientInstance.class.getDeclaredField("lockHeartbeat");
        lock.setAccessible(true);
        return (Lock) lock.get(consumer.getDefaultMQPushConsumerImpl().getmQClientFactory());
    }

    static void clusterTwoConsumers(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(8);
        String group = session.group("c");
        Inbox inboxA = new Inbox();
        Inbox inboxB = new Inbox();
        DefaultMQPushConsumer a = session.pushConsumer(group, topic, inboxA);
        Await.until("the first to have all queues", 15, () -> Queues.owned(a, topic).size() == 8);
        // The first learns of the second by the broker's notification; its own timer is 20 s.
        DefaultMQPushConsumer b = session.pushConsumer(group, topic, inboxB);
        Await.until("four queues each", 12, () -> Queues.owned(a, topic).size() == 4 && Queues.owned(b, topic).size() == 4);
        Failure.unless(Collections.disjoint(Queues.owned(a, topic), Queues.owned(b, topic)), "a queue has two consumers");

        List<String> texts = Texts.send(producer, topic, "shared", 80);
        Await.until("all messages", Inbox.PATIENCE, () -> inboxA.size() + inboxB.size() >= 80);
        Inbox both = new Inbox();
        both.addAll(inboxA.messages());
        both.addAll(inboxB.messages());
        both.awaitExactly(texts, 1);
        Failure.unless(inboxA.size() > 0 && inboxB.size() > 0,
            "shares of " + inboxA.size() + " and " + inboxB.size() + " messages");

        b.shutdown();
        Await.until("the one that stayed to have all queues", 12, () -> Queues.owned(a, topic).size() == 8);
        int before = inboxA.size();
        int beforeB = inboxB.size();
        texts = Texts.send(producer, topic, "alone", 40);
        Await.until("all messages at the one that stayed", Inbox.PATIENCE, () -> inboxA.size() >= before + 40);
        Set<String> seen = new HashSet<>(inboxA.bodies().subList(before, inboxA.size()));
        Failure.unless(seen.containsAll(texts), "messages missing after the other left");
        Failure.unlessEqual(beforeB, inboxB.size(), "messages at the one that left");
    }

    /**
     * Who joins or leaves is noticed at once. The client itself shares queues at most once a second, and for the first time a second
     * after it was made; everybody else has been quiet for longer when a round begins. A machine that is held up spoils one round of
     * three, not two.
     */
    static void rebalancesAtOnce(Session session) throws Exception {
        String topic = session.createTopic(8);
        session.producer();
        String group = session.group("c");
        DefaultMQPushConsumer stays = session.pushConsumer(group, topic, new Inbox());
        List<Long> joined = new ArrayList<>();
        List<Long> left = new ArrayList<>();
        for (int round = 0; round < 3; round++) {
            Await.until("all queues at the one that stays, quietly", 30,
                () -> Queues.owned(stays, topic).size() == 8 && Queues.waiting(stays, topic, 8, 1500));
            DefaultMQPushConsumer comes = session.newPushConsumer(group, new Inbox());
            comes.subscribe(topic, "*");
            comes.start();
            long begun = System.nanoTime();
            Await.until("four queues each", 30,
                () -> Queues.owned(stays, topic).size() == 4 && Queues.owned(comes, topic).size() == 4);
            joined.add(TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun));
            Await.until("both to be quiet", 30,
                () -> Queues.waiting(stays, topic, 4, 1500) && Queues.waiting(comes, topic, 4, 1500));
            begun = System.nanoTime();
            comes.shutdown();
            Await.until("all queues at the one that stays", 30, () -> Queues.owned(stays, topic).size() == 8);
            left.add(TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun));
        }
        System.out.println("rebalanced after a client joined: " + joined + " ms, and left: " + left + " ms");
        Collections.sort(joined);
        Collections.sort(left);
        Failure.unless(joined.get(1) < 1500, "rebalanced " + joined + " ms after a client joined");
        Failure.unless(left.get(1) < 1000, "rebalanced " + left + " ms after a client left");
    }

    static void broadcasting(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(4);
        String group = session.group("c");
        List<String> texts = Texts.send(producer, topic, "before", 20);
        List<Inbox> inboxes = List.of(new Inbox(), new Inbox());
        for (Inbox inbox : inboxes) {
            DefaultMQPushConsumer consumer = session.newPushConsumer(group, inbox);
            consumer.setMessageModel(MessageModel.BROADCASTING);
            consumer.subscribe(topic, "*");
            consumer.start();
        }
        texts.addAll(Texts.send(producer, topic, "after", 20));
        for (Inbox inbox : inboxes) {
            inbox.awaitExactly(texts, Inbox.PATIENCE);
        }
    }

    static void tagFilter(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(2);
        // "Aa" and "BB" have the same hash, by which the broker filters; the client tells them apart.
        String[] tags = {"A", "B", "C", "Aa", "BB"};
        List<String> wanted = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            String tag = tags[i % tags.length];
            Message message = Texts.message(topic, tag + "-" + i);
            message.setTags(tag);
            Texts.stored(producer.send(message));
            if (tag.equals("A") || tag.equals("Aa")) {
                wanted.add(tag + "-" + i);
            }
        }
        Texts.stored(producer.send(Texts.message(topic, "without a tag")));
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer consumer = session.newPushConsumer(session.group("c"), inbox);
        consumer.subscribe(topic, "A || Aa");
        consumer.start();
        inbox.awaitExactly(wanted, Inbox.PATIENCE);
        // A message that passes must wake a held pull behind ones that do not.
        Await.until("a held pull for each queue", Inbox.PATIENCE, () -> Queues.waiting(consumer, topic, 2, 500));
        for (String tag : new String[] {"B", "C", "A"}) {
            Message message = Texts.message(topic, tag + "-late");
            message.setTags(tag);
            Texts.stored(producer.send(message));
        }
        wanted.add("A-late");
        inbox.awaitExactly(wanted, Inbox.PATIENCE);
    }

    /**
     * Queues are consumed in order by whoever holds their locks, the locks are really held against
     * another client, and the next consumer goes on in order.
     */
    static void orderly(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(4);
        String group = session.group("c");
        List<MessageQueue> queues = producer.fetchPublishMessageQueues(topic);
        Inbox inbox = new Inbox();
        DefaultMQPushConsumer first = orderlyConsumer(session, group, topic, inbox);
        List<String> texts = sendInOrder(producer, queues, "first", 100);
        inbox.awaitExactly(texts, Inbox.PATIENCE);
        checkOrder(inbox, 0);

        Raw raw = new Raw(producer);
        LockBatchRequestBody lock = new LockBatchRequestBody();
        lock.setConsumerGroup(group);
        lock.setClientId("another-client");
        lock.setMqSet(new HashSet<>(queues));
        Set<MessageQueue> taken = raw.api().lockBatchMQ(raw.brokerOf(queues.get(0)), lock, 5000);
        Failure.unless(taken.isEmpty(), "another client locked " + taken.size() + " queues of a consumer that holds them");

        int before = inbox.size();
        first.shutdown();
        orderlyConsumer(session, group, topic, inbox);
        texts.addAll(sendInOrder(producer, queues, "second", 100));
        inbox.awaitExactly(texts, Inbox.PATIENCE);
        checkOrder(inbox, before);
    }

    private static DefaultMQPushConsumer orderlyConsumer(Session session, String group, String topic, Inbox inbox)
        throws Exception {
        DefaultMQPushConsumer consumer = session.newPushConsumer(group, null);
        consumer.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
            inbox.addAll(messages);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.subscribe(topic, "*");
        consumer.start();
        return consumer;
    }

    private static List<String> sendInOrder(DefaultMQProducer producer, List<MessageQueue> queues, String prefix, int count)
        throws Exception {
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String text = prefix + "-" + i;
            Message message = Texts.message(queues.get(0).getTopic(), text);
            Texts.stored(producer.send(message, (all, m, key) -> all.get((Integer) key % all.size()), i));
            texts.add(text);
        }
        return texts;
    }

    private static void checkOrder(Inbox inbox, int from) throws Failure {
        Map<Integer, Long> last = new HashMap<>();
        for (MessageExt message : inbox.messages().subList(from, inbox.size())) {
            Long before = last.put(message.getQueueId(), message.getQueueOffset());
            Failure.unless(before == null || before + 1 == message.getQueueOffset(),
                "queue " + message.getQueueId() + ": offset " + message.getQueueOffset() + " after " + before);
        }
    }
}
