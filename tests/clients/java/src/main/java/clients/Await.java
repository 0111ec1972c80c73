package clients;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.TimeUnit;

/** Bounded waiting on conditions; nothing in these programs sleeps for a fixed time and hopes. */
final class Await {
    private Await() {}

    /** Returns once the condition holds; fails with what was waited for when the limit has passed. */
    static void until(String what, long seconds, Callable<Boolean> condition) throws Exception {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        Exception last = null;
        do {
            try {
                if (condition.call()) {
                    return;
                }
                last = null;
            } catch (InterruptedException e) {
                throw e;
            } catch (Exception e) {
                last = e;
            }
            TimeUnit.MILLISECONDS.sleep(20);
        } while (System.nanoTime() < deadline);
        throw new Failure("waited " + seconds + " s for: " + what + (last == null ? "" : " (last: " + last + ")"), last);
    }

    /** What the call gives, as soon as it succeeds. */
    static <T> T value(String what, long seconds, Callable<T> call) throws Exception {
        List<T> values = new ArrayList<>(1);
        until(what, seconds, () -> values.add(call.call()));
        return values.get(0);
    }
}
