package clients;

import java.nio.charset.StandardCharsets;
import java.util.List;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.exception.RequestTimeoutException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.utils.MessageUtil;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageConst;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.remoting.protocol.ResponseCode;

/** Requests that wait for a consumer's reply. */
final class Replying {
    private Replying() {}

    static void requestReply(Session session) throws Exception {
        DefaultMQProducer requester = session.producer();
        DefaultMQProducer replier = session.producer();
        String topic = session.createTopic(2);
        DefaultMQPushConsumer consumer = session.newPushConsumer(session.group("c"), null);
        Inbox failures = new Inbox();
        consumer.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt message : messages) {
                try {
                    byte[] body = ("reply to " + Texts.text(message)).getBytes(StandardCharsets.UTF_8);
                    replier.send(MessageUtil.createReplyMessage(message, body), 5000);
                } catch (Exception e) {
                    failures.addAll(List.of(message));
                }
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        consumer.subscribe(topic, "*");
        consumer.start();
        for (int i = 0; i < 10; i++) {
            Message reply = requester.request(Texts.message(topic, "request-" + i), Inbox.PATIENCE * 1000);
            Failure.unlessEqual("reply to request-" + i, new String(reply.getBody(), StandardCharsets.UTF_8), "reply");
        }
        Failure.unlessEqual(0, failures.size(), "replies that failed");
    }

    /** Nobody replies: the client gives up by itself. A reply to one that is gone is refused, with the reason. */
    static void requestTimeout(Session session) throws Exception {
        DefaultMQProducer requester = session.producer();
        String topic = session.createTopic(2);
        Inbox inbox = new Inbox();
        session.pushConsumer(session.group("c"), topic, inbox);
        try {
            requester.request(Texts.message(topic, "unheard"), 2000);
            throw new Failure("a request that nobody replied to was answered");
        } catch (RequestTimeoutException expected) {
            inbox.awaitExactly(List.of("unheard"), Inbox.PATIENCE);
        }
        Message reply = MessageUtil.createReplyMessage(inbox.messages().get(0), new byte[] {1});
        reply.putUserProperty("a", "b");
        requester.shutdown();
        DefaultMQProducer replier = session.producer();
        String named = reply.getProperty(MessageConst.PROPERTY_MESSAGE_REPLY_TO_CLIENT);
        Await.until("the requester to be gone", 15, () -> {
            try {
                replier.send(reply);
                return false;
            } catch (MQBrokerException e) {
                return refused(e.getResponseCode(), e.getErrorMessage(), named);
            } catch (MQClientException e) {
                // After some tries; the broker's own words are in the cause.
                return refused(e.getResponseCode(), String.valueOf(e.getCause()), named);
            }
        });
    }

    private static boolean refused(int code, String remark, String requester) throws Failure {
        Failure.unlessEqual(ResponseCode.SYSTEM_ERROR, code, "code of a reply to one that is gone (" + remark + ")");
        Failure.unless(remark.contains(requester) && remark.contains("not found"), "remark: " + remark);
        return true;
    }
}
