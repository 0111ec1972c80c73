package clients;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Runs scenarios against a name server's address and prints one line for each: `PASS name`,
 * `FAIL name: reason`, or `SKIP name: reason` for one whose flag was not given. Exits with 1 on any
 * FAIL.
 *
 * Flags: `--no-auto-create` says that the broker runs with autoCreateTopicEnable=false; `--exact`
 * asks for what RingMQ promises beyond Apache's broker (offsets are exact at the moment of the
 * acknowledgement); `--recall` says that the broker runs with recallMessageEnable=true.
 */
public final class Scenarios {
    /** Far above what a scenario needs, so that a hang becomes a FAIL. */
    private static final long LIMIT_SECONDS = 150;

    interface Scenario {
        void run(Session session) throws Exception;
    }

    final Map<String, Scenario> all = new LinkedHashMap<>();
    private final Map<String, String> flagOf = new LinkedHashMap<>();
    private final int atATime;

    /** Without scenarios yet. */
    Scenarios(int atATime) {
        this.atATime = atATime;
    }

    void add(String name, Scenario scenario) {
        if (all.put(name, scenario) != null) {
            throw new IllegalArgumentException("two scenarios are named " + name);
        }
    }

    /** Runs only with the flag. */
    void add(String name, String flag, Scenario scenario) {
        add(name, scenario);
        flagOf.put(name, flag);
    }

    /** Does what the arguments of a program say, and ends it with its exit status. */
    void start(String[] args) throws Exception {
        if (args.length == 1 && args[0].equals("list")) {
            all.keySet().forEach(System.out::println);
            return;
        }
        if (args.length == 0) {
            System.err.println("usage: NAMESRV [--no-auto-create] [--exact] [--recall] [scenario ... | all]");
            System.exit(2);
        }
        Hurry.start();
        boolean passed = run(args[0], Arrays.asList(args).subList(1, args.length));
        // Clients keep threads that are not daemons when a scenario was given up on.
        System.exit(passed ? 0 : 1);
    }

    private boolean run(String namesrv, List<String> arguments) throws Exception {
        Set<String> flags = new LinkedHashSet<>();
        List<String> names = new ArrayList<>();
        for (String argument : arguments) {
            if (argument.startsWith("--")) {
                Failure.unless(flagOf.containsValue(argument), "unknown flag " + argument);
                flags.add(argument);
            } else if (!argument.equals("all")) {
                Failure.unless(all.containsKey(argument), "unknown scenario " + argument);
                names.add(argument);
            }
        }
        AtomicBoolean passed = new AtomicBoolean(true);
        ExecutorService pool = Executors.newFixedThreadPool(atATime);
        for (String name : names.isEmpty() ? all.keySet() : names) {
            String flag = flagOf.get(name);
            if (flag != null && !flags.contains(flag)) {
                System.out.println("SKIP " + name + ": needs " + flag);
                continue;
            }
            pool.execute(() -> {
                long start = System.nanoTime();
                String failure = runOne(namesrv, name);
                long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
                if (failure == null) {
                    System.out.println("PASS " + name + " (" + millis + " ms)");
                } else {
                    passed.set(false);
                    System.out.println("FAIL " + name + ": " + failure);
                }
            });
        }
        pool.shutdown();
        Failure.unless(pool.awaitTermination(1, TimeUnit.HOURS), "scenarios did not end");
        return passed.get();
    }

    /** Null, or the reason of the failure. */
    private String runOne(String namesrv, String name) {
        ExecutorService own = Executors.newSingleThreadExecutor(task -> {
            Thread thread = new Thread(task, name);
            thread.setDaemon(true);
            return thread;
        });
        Future<?> running = own.submit(() -> {
            try (Session session = new Session(namesrv, name)) {
                all.get(name).run(session);
            }
            return null;
        });
        own.shutdown();
        try {
            running.get(LIMIT_SECONDS, TimeUnit.SECONDS);
            return null;
        } catch (TimeoutException e) {
            running.cancel(true);
            return "still running after " + LIMIT_SECONDS + " s";
        } catch (ExecutionException e) {
            Throwable cause = e.getCause();
            if (cause instanceof Failure) {
                return cause.getMessage();
            }
            StackTraceElement[] trace = cause.getStackTrace();
            String where = Arrays.stream(trace).filter(at -> at.getClassName().startsWith("clients."))
                .findFirst().map(at -> " at " + at).orElse("");
            return cause.toString().replace('\n', ' ') + where;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "interrupted";
        }
    }
}
