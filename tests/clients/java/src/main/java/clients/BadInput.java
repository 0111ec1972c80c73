package clients;

import java.util.Random;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.ResponseCode;
import org.apache.rocketmq.remoting.protocol.RemotingSysResponseCode;

/** What the broker has to refuse, each with RocketMQ's own code and a remark, and live on. */
final class BadInput {
    private static final String TEMPLATE = "TBW102";
    /** A client of 4.9 has no name for it. */
    private static final int INVALID_PARAMETER = 29;

    private final DefaultMQProducer producer;
    private final MessageQueue queue;
    private final Raw raw;
    private final String broker;

    private BadInput(Session session) throws Exception {
        producer = session.producer();
        queue = session.createQueue(producer);
        raw = new Raw(producer);
        broker = raw.brokerOf(queue);
    }

    /** The answer has the code and a remark, and a good send works on the same connection after it. */
    private void expect(int code, RemotingCommand answer) throws Exception {
        Failure.unlessEqual(code, answer.getCode(), "answer (" + answer.getRemark() + ")");
        Failure.unless(answer.getRemark() != null && !answer.getRemark().isEmpty(), "no remark with code " + code);
        Texts.send(producer, queue, "after", 1);
    }

    static void oversizedBody(Session session) throws Exception {
        BadInput bad = new BadInput(session);
        DefaultMQProducer big = session.newProducer();
        big.setProducerGroup(session.group("big"));
        big.setMaxMessageSize(16 * 1024 * 1024);
        big.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        big.start();
        byte[] body = new byte[5 * 1024 * 1024];
        new Random(1).nextBytes(body);
        try {
            big.send(new Message(bad.queue.getTopic(), body), bad.queue);
        } catch (MQBrokerException e) {
            Failure.unlessEqual(ResponseCode.MESSAGE_ILLEGAL, e.getResponseCode(), "answer (" + e.getErrorMessage() + ")");
            Texts.send(bad.producer, bad.queue, "after", 1);
            return;
        }
        throw new Failure("a body of 5 MiB was accepted");
    }

    static void oversizedProperties(Session session) throws Exception {
        BadInput bad = new BadInput(session);
        String properties = "long\u0001" + "x".repeat(40_000) + "\u0002";
        bad.expect(ResponseCode.MESSAGE_ILLEGAL,
            bad.raw.send(bad.broker, bad.queue.getTopic(), TEMPLATE, 0, properties, new byte[] {1}));
    }

    /**
     * RocketMQ 5.5.0 SendMessageProcessor fails on a body of length zero before it can refuse it and
     * answers 1; 13 is what its checks say. Both refuse, and nothing may be stored.
     */
    static void emptyBody(Session session) throws Exception {
        BadInput bad = new BadInput(session);
        RemotingCommand answer = bad.raw.send(bad.broker, bad.queue.getTopic(), TEMPLATE, 0, null);
        int code = answer.getCode();
        Failure.unless(code == ResponseCode.MESSAGE_ILLEGAL || code == ResponseCode.SYSTEM_ERROR, "answer " + answer);
        Texts.send(bad.producer, bad.queue, "only", 1);
        Await.until("the good message alone", 10, () -> session.admin().maxOffset(bad.queue) == 1);
    }

    static void illegalTopic(Session session) throws Exception {
        BadInput bad = new BadInput(session);
        for (String topic : new String[] {"no such character!", "x".repeat(128), "white space"}) {
            bad.expect(INVALID_PARAMETER, bad.raw.send(bad.broker, topic, TEMPLATE, 0, new byte[] {1}));
        }
    }

    static void systemTopic(Session session) throws Exception {
        BadInput bad = new BadInput(session);
        bad.expect(ResponseCode.NO_PERMISSION,
            bad.raw.send(bad.broker, "SCHEDULE_TOPIC_XXXX", TEMPLATE, 0, new byte[] {1}));
    }

    static void badQueueId(Session session) throws Exception {
        BadInput bad = new BadInput(session);
        bad.expect(INVALID_PARAMETER,
            bad.raw.send(bad.broker, bad.queue.getTopic(), TEMPLATE, 99, new byte[] {1}));
    }

    /** A template that does not exist leaves nothing to create the topic from. */
    static void unknownTopic(Session session) throws Exception {
        BadInput bad = new BadInput(session);
        bad.expect(ResponseCode.TOPIC_NOT_EXIST,
            bad.raw.send(bad.broker, session.topic("unknown"), session.topic("no-template"), 0, new byte[] {1}));
    }

    static void unknownCode(Session session) throws Exception {
        BadInput bad = new BadInput(session);
        bad.expect(RemotingSysResponseCode.REQUEST_CODE_NOT_SUPPORTED,
            bad.raw.invoke(bad.broker, RemotingCommand.createRequestCommand(29_999, null)));
        RemotingCommand answer = bad.raw.invoke(session.namesrv, RemotingCommand.createRequestCommand(29_999, null));
        Failure.unlessEqual(RemotingSysResponseCode.REQUEST_CODE_NOT_SUPPORTED, answer.getCode(), "name server's answer");
    }

    /** Against a broker with autoCreateTopicEnable=false. */
    static void unknownTopicWithoutAutoCreate(Session session) throws Exception {
        BadInput bad = new BadInput(session);
        try {
            session.producer().send(Texts.message(session.topic("unknown"), "nowhere to go"));
        } catch (MQClientException e) {
            bad.expect(ResponseCode.TOPIC_NOT_EXIST,
                bad.raw.send(bad.broker, session.topic("unknown"), TEMPLATE, 0, new byte[] {1}));
            return;
        }
        throw new Failure("a send to an unknown topic was accepted");
    }
}
