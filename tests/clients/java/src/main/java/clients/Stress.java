package clients;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageClientExt;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * Bookkeeping for crash tests: `send` writes down what was acknowledged while the broker is killed
 * and restarted under it, `consume` what a group was given, and `verify` reads the queues back and
 * insists that every acknowledged message is at its offset with its body.
 */
public final class Stress {
    private Stress() {}

    public static void main(String[] args) throws Exception {
        boolean good;
        try {
            Failure.unless(args.length >= 2, "usage: NAMESRV send|consume|verify --option value ...");
            good = switch (args[1]) {
                case "send" -> send(args[0], new Options("topic", "", "acks", "", "messages", "100000", "seconds", "60",
                    "threads", "8", "queues", "8", "size", "256").parse(args, 2));
                case "consume" -> consume(args[0], new Options("topic", "", "group", "", "out", "", "idle-seconds", "5",
                    "first-seconds", "60")
                    .parse(args, 2));
                case "verify" -> verify(args[0], new Options("acks", "", "consumed", "-").parse(args, 2));
                default -> throw new Failure("unknown mode " + args[1]);
            };
        } catch (Failure e) {
            System.err.println(e.getMessage());
            good = false;
        }
        System.exit(good ? 0 : 1);
    }

    /**
     * Sends until the given number is acknowledged or the time is over. Failed sends are expected
     * while the broker is down; they are counted and their messages may or may not be stored. Prints
     * `sending` once the first message is acknowledged.
     */
    private static boolean send(String namesrv, Options options) throws Exception {
        String topic = options.text("topic");
        int size = options.number("size");
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(options.number("seconds"));
        AtomicLong left = new AtomicLong(options.number("messages"));
        AtomicLong acked = new AtomicLong();
        AtomicLong failed = new AtomicLong();
        Map<String, Long> reasons = new ConcurrentHashMap<>();
        try (Session session = new Session(namesrv, "stress"); AckFile acks = new AckFile(Path.of(options.text("acks")))) {
            session.createTopic(topic, options.number("queues"));
            List<Thread> threads = new ArrayList<>();
            for (int t = 0; t < options.number("threads"); t++) {
                DefaultMQProducer producer = session.newProducer();
                producer.setProducerGroup(session.group("producer" + t));
                producer.setSendMsgTimeout(3000);
                // One attempt for each message: an acknowledgement then names the one record that it is for.
                producer.setRetryTimesWhenSendFailed(0);
                producer.start();
                Random random = new Random(t);
                Thread thread = new Thread(() -> {
                    while (System.nanoTime() < deadline && left.getAndDecrement() > 0) {
                        byte[] body = new byte[Math.max(size, 16)];
                        random.nextBytes(body);
                        ByteBuffer.wrap(body).putLong(Thread.currentThread().getId()).putLong(System.nanoTime());
                        try {
                            SendResult result = producer.send(new Message(topic, body.clone()));
                            if (result.getSendStatus() != SendStatus.SEND_OK) {
                                throw new Failure(result.getSendStatus().toString());
                            }
                            acks.add(new AckFile.Line(topic, result.getMessageQueue().getQueueId(), result.getQueueOffset(),
                                result.getOffsetMsgId(), AckFile.hash(body)));
                            if (acked.getAndIncrement() == 0) {
                                System.out.println("sending");
                            }
                        } catch (Exception e) {
                            left.incrementAndGet();
                            failed.incrementAndGet();
                            reasons.merge(e.getClass().getSimpleName(), 1L, Long::sum);
                            // A broker that is down fails sends at once; there is no point in counting millions.
                            pause();
                        }
                    }
                }, "send-" + t);
                threads.add(thread);
                thread.start();
            }
            for (Thread thread : threads) {
                thread.join();
            }
        }
        System.out.println("acknowledged=" + acked + " failed=" + failed + " reasons=" + new TreeMap<>(reasons));
        return acked.get() > 0;
    }

    private static void pause() {
        try {
            TimeUnit.MILLISECONDS.sleep(50);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /**
     * Consumes until nothing has come for a while, then leaves the group in good order. The first
     * message may take longer (see Inbox.PATIENCE). The library's last commit is one-way, so the end is
     * that the broker has been heard to say that it knows the offsets.
     */
    private static boolean consume(String namesrv, Options options) throws Exception {
        AtomicLong count = new AtomicLong();
        AtomicLong last = new AtomicLong(System.nanoTime());
        Map<Integer, Long> firstOffsets = new ConcurrentHashMap<>();
        Map<Integer, Long> lastOffsets = new ConcurrentHashMap<>();
        try (AckFile out = new AckFile(Path.of(options.text("out"))); Session session = new Session(namesrv, "stress")) {
            DefaultMQPushConsumer consumer = session.newPushConsumer(options.text("group"), null);
            consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
                for (MessageExt message : messages) {
                    try {
                        out.add(line(message));
                    } catch (IOException e) {
                        return ConsumeConcurrentlyStatus.RECONSUME_LATER;
                    }
                    firstOffsets.merge(message.getQueueId(), message.getQueueOffset(), Math::min);
                    lastOffsets.merge(message.getQueueId(), message.getQueueOffset(), Math::max);
                }
                count.addAndGet(messages.size());
                last.set(System.nanoTime());
                return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
            });
            consumer.subscribe(options.text("topic"), "*");
            consumer.start();
            long idle = TimeUnit.SECONDS.toNanos(options.number("idle-seconds"));
            long first = TimeUnit.SECONDS.toNanos(options.number("first-seconds"));
            Await.until("the stream to end", 3600,
                () -> System.nanoTime() - last.get() > (count.get() == 0 ? first : idle));
            consumer.shutdown();
            DefaultMQPullConsumer observer = session.pullConsumer(options.text("group"));
            for (MessageQueue queue : observer.fetchSubscribeMessageQueues(options.text("topic"))) {
                Long committed = lastOffsets.get(queue.getQueueId());
                if (committed != null) {
                    Await.until("the broker to know offset " + (committed + 1) + " of " + queue, 20,
                        () -> observer.fetchConsumeOffset(queue, true) == committed + 1);
                }
            }
        }
        System.out.println("consumed=" + count + " first=" + new TreeMap<>(firstOffsets));
        return true;
    }

    private static AckFile.Line line(MessageExt message) {
        return new AckFile.Line(message.getTopic(), message.getQueueId(), message.getQueueOffset(),
            ((MessageClientExt) message).getOffsetMsgId(), AckFile.hash(message.getBody()));
    }

    /** With `--consumed FILE`, also that the group was given each acknowledged message at least once. */
    private static boolean verify(String namesrv, Options options) throws Exception {
        Map<String, Map<Integer, TreeMap<Long, AckFile.Line>>> acked = new TreeMap<>();
        List<String> problems = new ArrayList<>();
        List<AckFile.Line> lines = AckFile.read(Path.of(options.text("acks")));
        Failure.unless(!lines.isEmpty(), "nothing was acknowledged");
        for (AckFile.Line line : lines) {
            AckFile.Line before = acked.computeIfAbsent(line.topic(), topic -> new TreeMap<>())
                .computeIfAbsent(line.queueId(), queue -> new TreeMap<>()).put(line.offset(), line);
            if (before != null) {
                problems.add("TWICE: " + before + " and " + line);
            }
        }
        int queues = 0;
        try (Session session = new Session(namesrv, "verify")) {
            DefaultMQPullConsumer consumer = session.pullConsumer(session.group("reader"));
            for (String topic : acked.keySet()) {
                Map<Integer, MessageQueue> byId = new HashMap<>();
                consumer.fetchSubscribeMessageQueues(topic).forEach(queue -> byId.put(queue.getQueueId(), queue));
                for (Map.Entry<Integer, TreeMap<Long, AckFile.Line>> entry : acked.get(topic).entrySet()) {
                    queues++;
                    MessageQueue queue = byId.get(entry.getKey());
                    if (queue == null) {
                        problems.add("LOST: queue " + entry.getKey() + " of " + topic);
                        continue;
                    }
                    verifyQueue(consumer, queue, entry.getValue(), problems);
                }
            }
        }
        if (!options.text("consumed").equals("-")) {
            Set<AckFile.Line> consumed = new HashSet<>(AckFile.read(Path.of(options.text("consumed"))));
            lines.stream().filter(line -> !consumed.contains(line)).forEach(line -> problems.add("NOT CONSUMED: " + line));
        }
        problems.stream().limit(20).forEach(System.out::println);
        System.out.println((problems.isEmpty() ? "VERIFIED " : "BROKEN (" + problems.size() + " problems) ")
            + lines.size() + " acknowledged messages in " + queues + " queues");
        return problems.isEmpty();
    }

    private static void verifyQueue(DefaultMQPullConsumer consumer, MessageQueue queue, TreeMap<Long, AckFile.Line> acked,
        List<String> problems) throws Exception {
        long next = acked.firstKey();
        while (next <= acked.lastKey()) {
            PullResult result = consumer.pull(queue, "*", next, 32);
            switch (result.getPullStatus()) {
                case FOUND -> {
                    for (MessageExt message : result.getMsgFoundList()) {
                        if (message.getQueueOffset() != next) {
                            problems.add("GAP: " + queue + ": offset " + message.getQueueOffset() + " after " + (next - 1));
                        }
                        next = message.getQueueOffset() + 1;
                        AckFile.Line line = acked.remove(message.getQueueOffset());
                        if (line != null && !line.equals(line(message))) {
                            problems.add("DIFFERENT: " + line + " is now " + line(message));
                        }
                        if (acked.isEmpty()) {
                            return;
                        }
                    }
                }
                default -> {
                    problems.add("LOST: " + queue + " ends at " + result.getMaxOffset() + " (" + result.getPullStatus()
                        + "), asked for " + next);
                    acked.values().forEach(line -> problems.add("LOST: " + line));
                    return;
                }
            }
        }
        acked.values().forEach(line -> problems.add("LOST: " + line));
    }
}
