package clients;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.apache.rocketmq.common.message.MessageExt;

/** What consumers received, in order of arrival; filled by the client's threads, read by the scenario. */
final class Inbox {
    /**
     * Seconds to wait for a push consumer's messages. Normally they come at once, but the client has a
     * race of its own: if its rebalancing changes the subscription's version while a heartbeat holds
     * the lock, the new version is not sent and pulls are refused with SUBSCRIPTION_NOT_LATEST until
     * the next heartbeat, 30 s later (seen against Apache's broker on a busy machine; RingMQ serves
     * such pulls, which push_starts checks).
     */
    static final long PATIENCE = 45;

    private final List<MessageExt> messages = new ArrayList<>();

    synchronized void addAll(Collection<MessageExt> batch) {
        messages.addAll(batch);
        notifyAll();
    }

    synchronized List<MessageExt> messages() {
        return new ArrayList<>(messages);
    }

    synchronized int size() {
        return messages.size();
    }

    synchronized List<String> bodies() {
        List<String> bodies = new ArrayList<>();
        for (MessageExt message : messages) {
            bodies.add(new String(message.getBody(), StandardCharsets.UTF_8));
        }
        return bodies;
    }

    /** Waits until all the bodies are here, then insists that nothing else is, and nothing twice. */
    void awaitExactly(Collection<String> expected, long seconds) throws Exception {
        Set<String> wanted = new HashSet<>(expected);
        try {
            Await.until("all messages", seconds, () -> new HashSet<>(bodies()).containsAll(wanted));
        } catch (Failure timeout) {
            Set<String> missing = new HashSet<>(wanted);
            missing.removeAll(bodies());
            throw new Failure("received " + size() + " messages, missing " + missing.size() + " of "
                + wanted.size() + ", e.g. " + missing.stream().limit(3).toList(), timeout);
        }
        List<String> seen = bodies();
        for (String body : seen) {
            Failure.unless(wanted.contains(body), "received a message that was not expected: " + body);
        }
        Failure.unlessEqual(wanted.size(), seen.size(), "messages received (more means twice)");
    }

    /** Waits until there are more messages than the given number; wakes at the arrival, not at the next look. */
    synchronized void awaitMoreThan(int seen, long seconds) throws Exception {
        long deadline = System.nanoTime() + seconds * 1_000_000_000L;
        while (messages.size() <= seen) {
            long left = (deadline - System.nanoTime()) / 1_000_000L;
            if (left <= 0) {
                throw new Failure("no message within " + seconds + " s");
            }
            wait(left);
        }
    }
}
