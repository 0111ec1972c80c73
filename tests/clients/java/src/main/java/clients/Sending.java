package clients;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendCallback;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** The ways to send, each read back. */
final class Sending {
    private Sending() {}

    static void sync(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(4);
        Map<MessageQueue, List<String>> expected = new HashMap<>();
        for (int i = 0; i < 20; i++) {
            SendResult result = Texts.stored(producer.send(Texts.message(topic, "sync-" + i)));
            Failure.unless(result.getMsgId() != null && result.getMsgId().length() >= 32, "msgId " + result.getMsgId());
            Failure.unless(result.getOffsetMsgId().matches("[0-9A-F]{32}|[0-9A-F]{56}"),
                "offset msgId " + result.getOffsetMsgId());
            List<String> inQueue = expected.computeIfAbsent(result.getMessageQueue(), queue -> new ArrayList<>());
            Failure.unlessEqual((long) inQueue.size(), result.getQueueOffset(), "queue offset in " + result.getMessageQueue());
            inQueue.add("sync-" + i);
        }
        readBack(session, expected);
    }

    static void async(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(4);
        int count = 200;
        CountDownLatch answered = new CountDownLatch(count);
        ConcurrentLinkedQueue<String> failures = new ConcurrentLinkedQueue<>();
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            texts.add("async-" + i);
            producer.send(Texts.message(topic, "async-" + i), new SendCallback() {
                @Override
                public void onSuccess(SendResult result) {
                    try {
                        Texts.stored(result);
                    } catch (Failure e) {
                        failures.add(e.getMessage());
                    }
                    answered.countDown();
                }

                @Override
                public void onException(Throwable e) {
                    failures.add(e.toString());
                    answered.countDown();
                }
            });
        }
        Failure.unless(answered.await(20, TimeUnit.SECONDS), answered.getCount() + " of " + count + " without an answer");
        Failure.unless(failures.isEmpty(), failures.size() + " sends failed, e.g. " + failures.peek());
        Inbox inbox = new Inbox();
        session.pushConsumer(session.group("reader"), topic, inbox);
        inbox.awaitExactly(texts, Inbox.PATIENCE);
    }

    static void oneway(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(4);
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < 50; i++) {
            texts.add("oneway-" + i);
            producer.sendOneway(Texts.message(topic, "oneway-" + i));
        }
        Inbox inbox = new Inbox();
        session.pushConsumer(session.group("reader"), topic, inbox);
        inbox.awaitExactly(texts, Inbox.PATIENCE);
    }

    static void batch(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        Texts.send(producer, queue, "single", 3);
        List<Message> batch = new ArrayList<>();
        for (int i = 0; i < 30; i++) {
            Message message = Texts.message(queue.getTopic(), "batch-" + i);
            message.setTags(i % 2 == 0 ? "even" : "odd");
            message.setKeys("key" + i);
            message.putUserProperty("number", Integer.toString(i));
            batch.add(message);
        }
        SendResult result = Texts.stored(producer.send(batch, queue));
        Failure.unlessEqual(3L, result.getQueueOffset(), "queue offset of the batch");
        Failure.unlessEqual(30, result.getMsgId().split(",").length, "message ids");
        Failure.unlessEqual(30, result.getOffsetMsgId().split(",").length, "offset message ids");
        String[] ids = result.getMsgId().split(",");
        List<MessageExt> read = Texts.read(session.pullConsumer(session.group("reader")), queue, 3, 30);
        Failure.unlessEqual(30, read.size(), "messages after the first three");
        for (int i = 0; i < 30; i++) {
            MessageExt message = read.get(i);
            Failure.unlessEqual("batch-" + i, Texts.text(message), "body");
            Failure.unlessEqual(3L + i, message.getQueueOffset(), "queue offset");
            Failure.unlessEqual(i % 2 == 0 ? "even" : "odd", message.getTags(), "tag");
            Failure.unlessEqual("key" + i, message.getKeys(), "key");
            Failure.unlessEqual(Integer.toString(i), message.getUserProperty("number"), "property");
            Failure.unlessEqual(ids[i], message.getMsgId(), "message id");
        }
    }

    static void keysTagsProps(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        Message sent = Texts.message(queue.getTopic(), "with everything: äöü 東京");
        sent.setTags("TagÜ");
        sent.setKeys(List.of("key1", "key2"));
        sent.setFlag(0x1234567);
        Map<String, String> properties = Map.of("colour", "grün", "city", "東京", "number", "42", "spaces", "a b  c",
            "json", "{\"a\":[1,2]}");
        properties.forEach(sent::putUserProperty);
        long before = System.currentTimeMillis();
        SendResult result = Texts.stored(producer.send(sent, queue));
        long after = System.currentTimeMillis();
        MessageExt got = Texts.read(session.pullConsumer(session.group("reader")), queue, 0, 1).get(0);
        Failure.unlessEqual("with everything: äöü 東京", Texts.text(got), "body");
        Failure.unlessEqual("TagÜ", got.getTags(), "tags");
        Failure.unlessEqual("key1 key2", got.getKeys(), "keys");
        Failure.unlessEqual(0x1234567, got.getFlag(), "flag");
        Failure.unlessEqual(queue.getTopic(), got.getTopic(), "topic");
        Failure.unlessEqual(result.getMsgId(), got.getMsgId(), "message id");
        Failure.unlessEqual(result.getQueueOffset(), got.getQueueOffset(), "queue offset");
        Failure.unlessEqual(result.getOffsetMsgId(), ((MessageClientExt) got).getOffsetMsgId(),
            "offset message id");
        for (Map.Entry<String, String> property : properties.entrySet()) {
            Failure.unlessEqual(property.getValue(), got.getUserProperty(property.getKey()), "property " + property.getKey());
        }
        Failure.unless(got.getBornTimestamp() >= before && got.getBornTimestamp() <= after, "born at " + got.getBornTimestamp());
        Failure.unless(got.getStoreTimestamp() >= before - 1000 && got.getStoreTimestamp() <= after + 1000,
            "stored at " + got.getStoreTimestamp());
        Failure.unlessEqual(0, got.getReconsumeTimes(), "reconsume times");
    }

    static void compressedBody(Session session) throws Exception {
        byte[] body = new byte[200_000];
        for (int i = 0; i < body.length; i++) {
            body[i] = (byte) ("compressible text ".charAt(i % 18));
        }
        MessageExt got = one(session, body, 4096);
        Failure.unless(got.getStoreSize() < 100_000, "200,000 bytes took " + got.getStoreSize() + " in the store: not compressed");
    }

    static void largeBody(Session session) throws Exception {
        byte[] body = new byte[4 * 1024 * 1024 - 1024];
        new Random(7).nextBytes(body);
        one(session, body, Integer.MAX_VALUE);
    }

    /** Random bytes grow when they are compressed, so the threshold matters close to the limit of 4 MiB. */
    private static MessageExt one(Session session, byte[] body, int compressFrom) throws Exception {
        DefaultMQProducer producer = session.newProducer();
        producer.setCompressMsgBodyOverHowmuch(compressFrom);
        producer.start();
        MessageQueue queue = session.createQueue(producer);
        Texts.stored(producer.send(new Message(queue.getTopic(), body.clone()), queue));
        MessageExt got = Texts.read(session.pullConsumer(session.group("reader")), queue, 0, 1).get(0);
        Failure.unlessEqual(body.length, got.getBody().length, "body length");
        Failure.unless(Arrays.equals(body, got.getBody()), "the body differs from the one sent");
        return got;
    }

    private static void readBack(Session session, Map<MessageQueue, List<String>> expected) throws Exception {
        var consumer = session.pullConsumer(session.group("reader"));
        for (Map.Entry<MessageQueue, List<String>> queue : expected.entrySet()) {
            List<MessageExt> read = Texts.read(consumer, queue.getKey(), 0, queue.getValue().size());
            Failure.unlessEqual(queue.getValue(), Texts.texts(read), "messages of " + queue.getKey());
        }
    }
}
