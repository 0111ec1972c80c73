package clients;

import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Messages that come at a time of their own; recall. */
final class Timers {
    /** Apache takes a timer's time down to the second before, and one second more from a whole one. */
    private static final long EARLY_MILLIS = 1000;

    private Timers() {}

    static void timerMillis(Session session) throws Exception {
        Delayed.Arrivals arrivals = new Delayed.Arrivals(session);
        Message message = arrivals.message("timer");
        message.setDelayTimeMs(2500);
        long took = arrivals.delayOf(message);
        Failure.unless(took >= 2500 - EARLY_MILLIS && took < 12_500, "2.5 s came after " + took + " ms");
        message = arrivals.message("seconds");
        message.setDelayTimeSec(2);
        took = arrivals.delayOf(message);
        Failure.unless(took >= 2000 - EARLY_MILLIS && took < 12_000, "2 s came after " + took + " ms");
    }

    static void timerDeliverAt(Session session) throws Exception {
        Delayed.Arrivals arrivals = new Delayed.Arrivals(session);
        Message message = arrivals.message("at");
        message.setDeliverTimeMs(System.currentTimeMillis() + 2000);
        long took = arrivals.delayOf(message);
        Failure.unless(took >= 2000 - EARLY_MILLIS && took < 12_000, "a time in 2 s came after " + took + " ms");
        MessageExt came = arrivals.inbox.messages().get(4);
        Failure.unless(came.getProperty("TIMER_OUT_MS") != null, "no TIMER_OUT_MS");
    }

    /** What RingMQ promises beyond Apache: never early, and to the millisecond and not the second. */
    static void timerExact(Session session) throws Exception {
        Delayed.Arrivals arrivals = new Delayed.Arrivals(session);
        for (int millis : new int[] {50, 300, 700, 1234}) {
            Message message = arrivals.message("exact-" + millis);
            message.setDelayTimeMs(millis);
            long took = arrivals.delayOf(message);
            Failure.unless(took >= millis && took < millis + 1000, millis + " ms came after " + took + " ms");
        }
        // Beyond Apache's three days.
        Message message = arrivals.message("far");
        message.setDelayTimeSec(30L * 24 * 3600);
        Texts.stored(arrivals.producer.send(message));
        message = arrivals.message("absurd");
        message.setDelayTimeSec(100L * 365 * 24 * 3600);
        try {
            arrivals.producer.send(message);
            throw new Failure("a hundred years were taken");
        } catch (MQBrokerException refused) {
            Failure.unlessEqual(13, refused.getResponseCode(), "code of the refusal");
        }
    }

    static void timerPast(Session session) throws Exception {
        Delayed.Arrivals arrivals = new Delayed.Arrivals(session);
        Message message = arrivals.message("past");
        message.setDeliverTimeMs(System.currentTimeMillis() - 10_000);
        long took = arrivals.delayOf(message);
        Failure.unless(took < 1000, "a time that is past came after " + took + " ms");
    }

    static void properties(Session session) throws Exception {
        DefaultMQProducer producer = session.producer();
        MessageQueue queue = session.createQueue(producer);
        String topic = queue.getTopic();
        Message past = Delivered.message(topic, "past");
        past.setDeliverTimeMs(1000);
        Message millis = Delivered.message(topic, "millis");
        millis.setDelayTimeMs(2000);
        Message seconds = Delivered.message(topic, "seconds");
        seconds.setDelayTimeSec(4);
        Message at = Delivered.message(topic, "at");
        String time = Long.toString(System.currentTimeMillis() + 6000);
        at.setDeliverTimeMs(Long.parseLong(time));
        for (Message message : List.of(past, millis, seconds, at)) {
            Texts.stored(producer.send(message));
        }
        List<MessageExt> came = Texts.read(session.pullConsumer(session.group("reader")), queue, 0, 4);
        String[][] asked = {{"TIMER_DELIVER_MS", "1000"}, {"TIMER_DELAY_MS", "2000"}, {"TIMER_DELAY_SEC", "4"},
            {"TIMER_DELIVER_MS", time}};
        Delivered.unlessHas(came.get(0), asked[0]);
        for (int i = 1; i < asked.length; i++) {
            Delivered.unlessHas(came.get(i), asked[i][0], asked[i][1], "TIMER_OUT_MS", Delivered.ANY, "TIMER_ENQUEUE_MS",
                Delivered.ANY, "TIMER_DEQUEUE_MS", Delivered.ANY, "REAL_TOPIC", topic, "REAL_QID", "0");
        }
    }

    /** Of three messages the second is taken back; the third is due last, and the second would have come before it. */
    static void recall(Session session) throws Exception {
        Delayed.Arrivals arrivals = new Delayed.Arrivals(session);
        List<SendResult> sent = new ArrayList<>();
        for (int i = 0; i < 3; i++) {
            Message message = arrivals.message("recall-" + i);
            message.setDelayTimeMs(3000 + 1000L * i);
            sent.add(Texts.stored(arrivals.producer.send(message)));
        }
        String id = arrivals.producer.recallMessage(arrivals.topic, sent.get(1).getRecallHandle());
        Failure.unlessEqual(sent.get(1).getMsgId(), id, "the id of what was recalled");
        Await.until("the last message", 20, () -> arrivals.inbox.bodies().contains("recall-2"));
        Failure.unless(arrivals.inbox.bodies().contains("recall-0"), "the first message did not come");
        Failure.unless(!arrivals.inbox.bodies().contains("recall-1"), "the recalled message came");
    }
}
