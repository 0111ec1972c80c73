package org.apache.rocketmq.test.base;

import static org.mockito.ArgumentMatchers.anyInt;
import static org.mockito.ArgumentMatchers.anyString;
import static org.mockito.Mockito.mock;
import static org.mockito.Mockito.when;

import org.apache.rocketmq.broker.BrokerController;
import org.apache.rocketmq.broker.offset.ConsumerOffsetManager;
import org.apache.rocketmq.common.BrokerConfig;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.RemotingClient;
import org.apache.rocketmq.remoting.netty.NettyClientConfig;
import org.apache.rocketmq.remoting.netty.NettyRemotingClient;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;
import org.apache.rocketmq.remoting.protocol.RequestCode;
import org.apache.rocketmq.remoting.protocol.admin.OffsetWrapper;
import org.apache.rocketmq.remoting.protocol.header.GetMaxOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.GetMaxOffsetResponseHeader;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetRequestHeader;
import org.apache.rocketmq.remoting.protocol.header.QueryConsumerOffsetResponseHeader;
import org.apache.rocketmq.remoting.protocol.route.BrokerData;
import org.apache.rocketmq.store.MessageStore;
import org.apache.rocketmq.store.config.MessageStoreConfig;
import org.apache.rocketmq.test.util.MQAdminTestUtils;

/**
 * What some tests ask a broker in their own JVM, asked over the wire: its name and address, the end of a queue, a group's offset and
 * where its last pull ended.
 * Its configuration is an object that they may set; it changes nothing outside.
 */
final class Outside {
    private static final long ANSWER_MILLIS = 5000;
    private static final RemotingClient CLIENT = client();

    private Outside() {}

    private static RemotingClient client() {
        RemotingClient client = new NettyRemotingClient(new NettyClientConfig());
        client.start();
        return client;
    }

    static BrokerController controller(BrokerData broker) {
        String addr = broker.getBrokerAddrs().get(0L);
        BrokerConfig config = new BrokerConfig();
        config.setBrokerName(broker.getBrokerName());
        MessageStore store = mock(MessageStore.class);
        ConsumerOffsetManager offsets = mock(ConsumerOffsetManager.class);
        try {
            when(store.getMaxOffsetInQueue(anyString(), anyInt()))
                .thenAnswer(call -> maxOffset(addr, call.getArgument(0), call.getArgument(1)));
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
        when(offsets.queryOffset(anyString(), anyString(), anyInt()))
            .thenAnswer(call -> offset(addr, call.getArgument(0), call.getArgument(1), call.getArgument(2)));
        when(offsets.queryPullOffset(anyString(), anyString(), anyInt()))
            .thenAnswer(call -> pullOffset(broker, call.getArgument(0), call.getArgument(1), call.getArgument(2)));
        BrokerController controller = mock(BrokerController.class);
        when(controller.getBrokerAddr()).thenReturn(addr);
        when(controller.getBrokerConfig()).thenReturn(config);
        when(controller.getMessageStoreConfig()).thenReturn(new MessageStoreConfig());
        when(controller.getMessageStore()).thenReturn(store);
        when(controller.getConsumerOffsetManager()).thenReturn(offsets);
        return controller;
    }

    private static long maxOffset(String addr, String topic, int queueId) throws Exception {
        GetMaxOffsetRequestHeader header = new GetMaxOffsetRequestHeader();
        header.setTopic(topic);
        header.setQueueId(queueId);
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.GET_MAX_OFFSET, header);
        RemotingCommand answer = CLIENT.invokeSync(addr, request, ANSWER_MILLIS);
        return ((GetMaxOffsetResponseHeader) answer.decodeCommandCustomHeader(GetMaxOffsetResponseHeader.class)).getOffset();
    }

    /** Which is told with a group's statistics only. -1 if there is none. */
    private static long pullOffset(BrokerData broker, String group, String topic, int queueId) {
        String addr = broker.getBrokerAddrs().get(0L);
        OffsetWrapper found = MQAdminTestUtils.examineConsumeStats(addr, topic, group).getOffsetTable()
            .get(new MessageQueue(topic, broker.getBrokerName(), queueId));
        return found == null ? -1 : found.getPullOffset();
    }

    /** -1 if there is none. */
    private static long offset(String addr, String group, String topic, int queueId) throws Exception {
        QueryConsumerOffsetRequestHeader header = new QueryConsumerOffsetRequestHeader();
        header.setConsumerGroup(group);
        header.setTopic(topic);
        header.setQueueId(queueId);
        header.setSetZeroIfNotFound(false);
        RemotingCommand request = RemotingCommand.createRequestCommand(RequestCode.QUERY_CONSUMER_OFFSET, header);
        RemotingCommand answer = CLIENT.invokeSync(addr, request, ANSWER_MILLIS);
        if (answer.getCode() != 0) {
            return -1;
        }
        Object found = answer.decodeCommandCustomHeader(QueryConsumerOffsetResponseHeader.class);
        return ((QueryConsumerOffsetResponseHeader) found).getOffset();
    }
}
