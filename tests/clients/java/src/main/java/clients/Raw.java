package clients;

import org.apache.rocketmq.client.impl.MQClientAPIImpl;
import org.apache.rocketmq.client.impl.factory.MQClientInstance;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.SendMessageRequestHeaderV2;

/** Requests past the client library's own checks, which would never let bad input reach the broker. */
final class Raw {
    private final MQClientInstance instance;

    Raw(DefaultMQProducer producer) {
        this.instance = producer.getDefaultMQProducerImpl().getMqClientFactory();
    }

    MQClientAPIImpl api() {
        return instance.getMQClientAPIImpl();
    }

    /**
     * Address of the master that has the queue. Without one a request would go to the name server,
     * which is where the library sends what has no address.
     */
    String brokerOf(MessageQueue queue) throws Failure {
        instance.updateTopicRouteInfoFromNameServer(queue.getTopic());
        String address = instance.findBrokerAddressInPublish(queue.getBrokerName());
        Failure.unless(address != null, "no address of broker " + queue.getBrokerName());
        return address;
    }

    RemotingCommand invoke(String address, RemotingCommand request) throws Exception {
        return api().getRemotingClient().invokeSync(address, request, 10_000);
    }

    /** A single send with the given topic, template topic and queue, unchecked. */
    RemotingCommand send(String address, String topic, String template, int queueId, byte[] body) throws Exception {
        return send(address, topic, template, queueId, "", body);
    }

    RemotingCommand send(String address, String topic, String template, int queueId, String properties, byte[] body)
        throws Exception {
        SendMessageRequestHeader header = new SendMessageRequestHeader();
        header.setProducerGroup("raw");
        header.setTopic(topic);
        header.setDefaultTopic(template);
        header.setDefaultTopicQueueNums(4);
        header.setQueueId(queueId);
        header.setSysFlag(0);
        header.setBornTimestamp(System.currentTimeMillis());
        header.setFlag(0);
        header.setProperties(properties);
        header.setReconsumeTimes(0);
        header.setUnitMode(false);
        header.setBatch(false);
        header.setMaxReconsumeTimes(0);
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.SEND_MESSAGE_V2,
            SendMessageRequestHeaderV2.createSendMessageRequestHeaderV2(header));
        request.setBody(body);
        return invoke(address, request);
    }
}
