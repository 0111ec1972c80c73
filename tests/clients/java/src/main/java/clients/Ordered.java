package clients;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Numbered messages of several keys, each key's in one queue by a MessageQueueSelector, to consumers that take them in order,
 * while consumers join and leave and the broker may be killed. Prints `progress N` for each hundred messages that were consumed for the
 * first time, and at the end `ORDERED ...`, or `FAIL ...` with exit status 1.
 *
 * Kept order: no message is seen before all that were sent before it with its key. A message may be seen again: its send was
 * repeated, or a consumer went on from the last offset that it had committed.
 */
public final class Ordered {
    private static final int SENDERS = 4;
    /** Messages that were sent and not seen: senders wait, so that there are some of both at each kill. */
    private static final int AHEAD = 300;

    private final Session session;
    private final String topic;
    private final String group;
    private final int keys;
    private final int messages;
    private final AtomicIntegerArray next;
    private final AtomicInteger seen = new AtomicInteger();
    private final AtomicInteger sent = new AtomicInteger();
    private final AtomicInteger repeated = new AtomicInteger();
    private volatile String failure;

    private Ordered(Session session, int keys, int messages) throws Exception {
        this.session = session;
        this.topic = session.createTopic(8);
        this.group = session.group("c");
        this.keys = keys;
        this.messages = messages;
        this.next = new AtomicIntegerArray(keys);
    }

    public static void main(String[] args) throws Exception {
        Options options = new Options("keys", "20", "messages", "200").parse(args, 1);
        boolean passed;
        try (Session session = new Session(args[0], "ordered")) {
            passed = new Ordered(session, options.number("keys"), options.number("messages")).run();
        }
        System.exit(passed ? 0 : 1);
    }

    private boolean run() throws Exception {
        DefaultMQPushConsumer leaves = consumer();
        consumer();
        List<Thread> senders = new ArrayList<>();
        for (int sender = 0; sender < SENDERS; sender++) {
            int first = sender;
            Thread thread = new Thread(() -> {
                try {
                    send(first);
                } catch (Exception e) {
                    failure = "a sender ended: " + e;
                }
            });
            thread.start();
            senders.add(thread);
        }
        int all = keys * messages;
        awaitSeen(all / 3);
        consumer();
        awaitSeen(2 * all / 3);
        leaves.shutdown();
        awaitSeen(all);
        for (Thread sender : senders) {
            sender.join();
        }
        System.out.println(failure == null
            ? "ORDERED keys=" + keys + " messages=" + all + " repeated=" + repeated.get()
            : "FAIL " + failure);
        return failure == null;
    }

    private void awaitSeen(int count) throws Exception {
        try {
            Await.until(count + " messages", 180, () -> failure != null || seen.get() >= count);
        } catch (Failure timeout) {
            failure = timeout.getMessage() + ", seen " + seen.get() + ", next of each key " + next;
        }
    }

    /** A key's next message is sent when the one before it is stored, however often that takes. */
    private void send(int first) throws Exception {
        DefaultMQProducer producer = session.newProducer();
        producer.setProducerGroup(session.group("p" + first));
        producer.setSendMsgTimeout(3000);
        producer.start();
        for (int number = 0; number < messages && failure == null; number++) {
            for (int key = first; key < keys; key += SENDERS) {
                while (sent.get() - seen.get() > AHEAD && failure == null) {
                    Thread.sleep(2);
                }
                Message message = Texts.message(topic, key + "-" + number);
                while (failure == null && !isStored(producer, message, key)) {
                    Thread.sleep(20);
                }
                sent.incrementAndGet();
            }
        }
    }

    private static boolean isStored(DefaultMQProducer producer, Message message, int key) throws InterruptedException {
        try {
            return producer.send(message, (queues, sending, chosen) -> queues.get((Integer) chosen % queues.size()), key)
                .getSendStatus() == SendStatus.SEND_OK;
        } catch (InterruptedException e) {
            throw e;
        } catch (Exception down) {
            return false;
        }
    }

    private DefaultMQPushConsumer consumer() throws Exception {
        DefaultMQPushConsumer consumer = session.newPushConsumer(group, null);
        consumer.subscribe(topic, "*");
        consumer.registerMessageListener((MessageListenerOrderly) (received, context) -> {
            received.forEach(this::note);
            return ConsumeOrderlyStatus.SUCCESS;
        });
        consumer.start();
        return consumer;
    }

    private synchronized void note(MessageExt message) {
        String[] text = Texts.text(message).split("-");
        int key = Integer.parseInt(text[0]);
        int number = Integer.parseInt(text[1]);
        int expected = next.get(key);
        if (number > expected) {
            failure = "message " + number + " of key " + key + " came before message " + expected;
        } else if (number < expected) {
            repeated.incrementAndGet();
        } else {
            next.set(key, number + 1);
            if (seen.incrementAndGet() % 100 == 0) {
                System.out.println("progress " + seen.get());
            }
        }
    }
}
