package clients;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Numbered text messages: sending them, and reading queues back without the consumers under test. */
final class Texts {
    private Texts() {}

    static Message message(String topic, String text) {
        return new Message(topic, text.getBytes(StandardCharsets.UTF_8));
    }

    static String text(MessageExt message) {
        return new String(message.getBody(), StandardCharsets.UTF_8);
    }

    /** Sends prefix-0, prefix-1, ... over the topic's queues and returns the texts. */
    static List<String> send(DefaultMQProducer producer, String topic, String prefix, int count) throws Exception {
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String text = prefix + "-" + i;
            stored(producer.send(message(topic, text)));
            texts.add(text);
        }
        return texts;
    }

    /** The same to one queue. */
    static List<String> send(DefaultMQProducer producer, MessageQueue queue, String prefix, int count) throws Exception {
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            String text = prefix + "-" + i;
            stored(producer.send(message(queue.getTopic(), text), queue));
            texts.add(text);
        }
        return texts;
    }

    static SendResult stored(SendResult result) throws Failure {
        Failure.unlessEqual(SendStatus.SEND_OK, result.getSendStatus(), "send status");
        return result;
    }

    /** All messages of a queue from an offset on; waits until `count` of them can be read. */
    static List<MessageExt> read(DefaultMQPullConsumer consumer, MessageQueue queue, long offset, int count)
        throws Exception {
        List<MessageExt> messages = new ArrayList<>();
        long[] next = {offset};
        Await.until(count + " messages in " + queue + " from " + offset, 20, () -> {
            PullResult result = consumer.pull(queue, "*", next[0], 32);
            if (result.getPullStatus() == PullStatus.FOUND) {
                messages.addAll(result.getMsgFoundList());
                next[0] = result.getNextBeginOffset();
            }
            return messages.size() >= count;
        });
        return messages;
    }

    static List<String> texts(List<MessageExt> messages) {
        List<String> texts = new ArrayList<>();
        messages.forEach(message -> texts.add(text(message)));
        return texts;
    }
}
