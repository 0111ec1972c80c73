package clients;

import java.util.Map;

/**
 * Wakes clients that are being shut down. Each of them waits up to three seconds for a thread of its own that looks at its stop
 * flag only when a poll of 3000 ms ends (RocketMQ 5.5.0 NettyRemotingAbstract.NettyEventExecutor, joined by
 * ServiceThread#shutdown), whatever the broker does; that is also why each call of mqadmin takes so long.
 */
public final class Hurry {
    private static final long LOOK_MILLIS = 50;

    private Hurry() {}

    public static void start() {
        Thread thread = new Thread(Hurry::watch, "hurry");
        thread.setDaemon(true);
        thread.start();
    }

    private static void watch() {
        try {
            while (true) {
                Thread.sleep(LOOK_MILLIS);
                Map<Thread, StackTraceElement[]> all = Thread.getAllStackTraces();
                if (all.values().stream().anyMatch(Hurry::isShuttingDown)) {
                    // Those of clients that go on poll again.
                    all.forEach((thread, stack) -> {
                        if (thread.getName().equals("NettyEventExecutor") && isIn(stack, "LinkedBlockingQueue", "poll")) {
                            thread.interrupt();
                        }
                    });
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static boolean isShuttingDown(StackTraceElement[] stack) {
        return isIn(stack, "ServiceThread", "shutdown") && isIn(stack, "Thread", "join");
    }

    private static boolean isIn(StackTraceElement[] stack, String type, String method) {
        for (StackTraceElement at : stack) {
            if (at.getMethodName().equals(method) && at.getClassName().endsWith("." + type)) {
                return true;
            }
        }
        return false;
    }
}
