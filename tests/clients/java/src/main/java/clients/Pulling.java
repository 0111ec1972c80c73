package clients;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullCallback;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Pull consumers of both kinds. */
final class Pulling {
    private Pulling() {}

    static void pull(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        List<String> texts = Texts.send(producer, queue, "pull", 50);
        DefaultMQPullConsumer consumer = session.pullConsumer(session.group("c"));
        Failure.unlessEqual(Set.of(queue), consumer.fetchSubscribeMessageQueues(queue.getTopic()), "queues");
        Await.until("all messages", 10, () -> session.admin().maxOffset(queue) == 50);

        PullResult result = consumer.pull(queue, "*", 10, 16);
        Failure.unlessEqual(PullStatus.FOUND, result.getPullStatus(), "status");
        Failure.unlessEqual(texts.subList(10, 26), Texts.texts(result.getMsgFoundList()), "messages 10 to 25");
        Failure.unlessEqual(26L, result.getNextBeginOffset(), "next offset");
        Failure.unlessEqual(0L, result.getMinOffset(), "min offset");
        Failure.unlessEqual(50L, result.getMaxOffset(), "max offset");

        result = consumer.pull(queue, "*", 50, 32);
        Failure.unlessEqual(PullStatus.NO_NEW_MSG, result.getPullStatus(), "status at the end");
        Failure.unlessEqual(50L, result.getNextBeginOffset(), "next offset at the end");
        result = consumer.pull(queue, "*", 1000, 32);
        Failure.unlessEqual(PullStatus.OFFSET_ILLEGAL, result.getPullStatus(), "status past the end");
        Failure.unlessEqual(50L, result.getNextBeginOffset(), "next offset past the end");

        List<MessageExt> all = Texts.read(consumer, queue, 0, 50);
        Failure.unlessEqual(texts, Texts.texts(all), "all messages");
    }

    /** A blocking pull at the end of a queue is answered by the next message. */
    static void held(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        Texts.send(producer, queue, "before", 1);
        DefaultMQPullConsumer consumer = session.pullConsumer(session.group("c"));
        Texts.read(consumer, queue, 0, 1);
        CompletableFuture<PullResult> answer = new CompletableFuture<>();
        consumer.pullBlockIfNotFound(queue, "*", 1, 32, new PullCallback() {
            @Override
            public void onSuccess(PullResult result) {
                answer.complete(result);
            }

            @Override
            public void onException(Throwable e) {
                answer.completeExceptionally(e);
            }
        });
        try {
            PullResult early = answer.get(2, TimeUnit.SECONDS);
            throw new Failure("answered before there was a message: " + early);
        } catch (TimeoutException expected) {
            // held, as it should be
        }
        long sent = System.nanoTime();
        Texts.send(producer, queue, "wakes", 1);
        PullResult result = answer.get(10, TimeUnit.SECONDS);
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - sent);
        Failure.unlessEqual(PullStatus.FOUND, result.getPullStatus(), "status");
        Failure.unlessEqual(List.of("wakes-0"), Texts.texts(result.getMsgFoundList()), "messages");
        Failure.unless(millis < 1000, "answered " + millis + " ms after the send");
    }

    static void tagFilter(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        for (int i = 0; i < 30; i++) {
            Message message = Texts.message(queue.getTopic(), "m-" + i);
            message.setTags(i % 3 == 0 ? "third" : "other");
            Texts.stored(producer.send(message, queue));
        }
        DefaultMQPullConsumer consumer = session.pullConsumer(session.group("c"));
        Await.until("all messages", 10, () -> session.admin().maxOffset(queue) == 30);
        PullResult result = consumer.pull(queue, "third", 0, 32);
        Failure.unlessEqual(PullStatus.FOUND, result.getPullStatus(), "status");
        Failure.unlessEqual(10, result.getMsgFoundList().size(), "messages with the tag");
        result = consumer.pull(queue, "absent", 0, 32);
        Failure.unlessEqual(PullStatus.NO_MATCHED_MSG, result.getPullStatus(), "status without a match");
        Failure.unlessEqual(30L, result.getNextBeginOffset(), "next offset without a match");
    }

    static void litePullSubscribe(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        String topic = session.createTopic(4);
        String group = session.group("c");
        List<String> texts = Texts.send(producer, topic, "lite", 60);
        DefaultLitePullConsumer consumer = session.newLitePullConsumer(group);
        consumer.setAutoCommit(false);
        consumer.subscribe(topic, "*");
        consumer.start();
        Inbox inbox = new Inbox();
        Await.until("60 messages", 30, () -> {
            inbox.addAll(consumer.poll(500));
            return inbox.size() >= 60;
        });
        inbox.awaitExactly(texts, 1);
        consumer.commitSync();
        consumer.shutdown();

        List<String> more = Texts.send(producer, topic, "more", 20);
        DefaultLitePullConsumer next = session.newLitePullConsumer(group);
        next.subscribe(topic, "*");
        next.start();
        Inbox second = new Inbox();
        Await.until("20 more messages", 30, () -> {
            second.addAll(next.poll(500));
            return second.size() >= 20;
        });
        second.awaitExactly(more, 1);
    }

    static void litePullAssignSeek(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        List<String> texts = Texts.send(producer, queue, "lite", 40);
        DefaultLitePullConsumer consumer = session.newLitePullConsumer(session.group("c"));
        consumer.setAutoCommit(false);
        consumer.start();
        Failure.unlessEqual(Set.of(queue), Set.copyOf(consumer.fetchMessageQueues(queue.getTopic())), "queues");
        consumer.assign(List.of(queue));
        // To the end first: the client still delivers what a pull brings that was under way while it sought.
        Failure.unlessEqual(texts, poll(consumer, 40), "messages from the start");
        consumer.seek(queue, 25);
        Failure.unlessEqual(texts.subList(25, 40), poll(consumer, 15), "messages from 25");
        consumer.seekToBegin(queue);
        Failure.unlessEqual(texts, poll(consumer, 40), "messages from the beginning");
        consumer.commitSync();
        Await.until("the committed offset", 10, () -> Long.valueOf(40).equals(consumer.committed(queue)));
        consumer.seekToEnd(queue);
        List<String> late = Texts.send(producer, queue, "late", 3);
        Failure.unlessEqual(late, poll(consumer, 3), "messages after the end");
    }

    /** What polls bring after a seek; messages fetched before it are dropped by the client. */
    private static List<String> poll(DefaultLitePullConsumer consumer, int count) throws Exception {
        List<String> texts = new ArrayList<>();
        Await.until(count + " messages", 20, () -> {
            texts.addAll(Texts.texts(consumer.poll(500)));
            return texts.size() >= count;
        });
        return texts;
    }
}
