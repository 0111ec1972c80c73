package it;

import clients.Hurry;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.junit.runner.Description;
import org.junit.runner.JUnitCore;
import org.junit.runner.Request;
import org.junit.runner.Result;
import org.junit.runner.manipulation.Filter;
import org.junit.runner.notification.Failure;

/** Runs test classes one after the other and prints a line for each, as run.sh says. */
public final class Run {
    private static final String PACKAGE = "org.apache.rocketmq.test.";

    /** Far above what a class needs, so that a hang becomes a FAIL. */
    private static final long LIMIT_MINUTES = 8;

    /** A class that can run from outside. */
    private static final class Entry {
        final boolean quick;
        /** Methods that cannot. */
        final Set<String> without = new TreeSet<>();

        Entry(boolean quick) {
            this.quick = quick;
        }
    }

    private Run() {}

    /** The lines of classes.txt: `quick CLASS`, `run CLASS`, `without METHOD CLASS: reason`, `no CLASS: reason`. */
    private static Map<String, Entry> classes() throws Exception {
        Map<String, Entry> all = new LinkedHashMap<>();
        for (String line : Files.readAllLines(Path.of(System.getProperty("it.classes")))) {
            String[] words = line.split("[ :]+");
            switch (words[0]) {
                case "quick", "run" -> all.put(words[1], new Entry(words[0].equals("quick")));
                case "without" -> all.get(words[2]).without.add(words[1]);
                case "no", "#", "" -> { }
                default -> throw new IllegalArgumentException("classes.txt: " + line);
            }
        }
        return all;
    }

    public static void main(String[] args) throws Exception {
        Map<String, Entry> all = classes();
        List<String> chosen = new ArrayList<>();
        for (int i = 1; i < args.length; i++) {
            switch (args[i]) {
                case "all" -> chosen.addAll(all.keySet());
                case "quick" -> all.forEach((name, entry) -> {
                    if (entry.quick) {
                        chosen.add(name);
                    }
                });
                default -> chosen.add(args[i]);
            }
        }
        if (args[0].equals("list")) {
            (chosen.isEmpty() ? all.keySet() : chosen).forEach(System.out::println);
            return;
        }
        System.setProperty("it.namesrv", args[0]);
        Hurry.start();
        boolean passed = true;
        for (String name : chosen) {
            passed &= run(name, all.getOrDefault(name, new Entry(false)).without);
        }
        // The tests' clients keep threads that are no daemons.
        System.exit(passed ? 0 : 1);
    }

    private static boolean run(String name, Set<String> without) throws Exception {
        Class<?> type = Class.forName(PACKAGE + name);
        Filter filter = new Filter() {
            @Override
            public boolean shouldRun(Description description) {
                return description.getMethodName() == null || !without.contains(description.getMethodName());
            }

            @Override
            public String describe() {
                return "what can run from outside";
            }
        };
        Result[] results = new Result[1];
        Thread thread = new Thread(() -> results[0] = new JUnitCore().run(Request.aClass(type).filterWith(filter)), name);
        thread.setDaemon(true);
        long start = System.nanoTime();
        thread.start();
        thread.join(TimeUnit.MINUTES.toMillis(LIMIT_MINUTES));
        long millis = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - start);
        Result result = results[0];
        if (result == null) {
            System.out.println("FAIL " + name + ": still running after " + millis + " ms at");
            for (StackTraceElement at : thread.getStackTrace()) {
                System.out.println("  " + at);
            }
            thread.interrupt();
            return false;
        }
        for (Failure failure : result.getFailures()) {
            String method = failure.getDescription().getMethodName();
            System.out.println("FAIL " + name + ": " + method + ": " + reason(failure.getException()));
        }
        if (result.wasSuccessful()) {
            System.out.println("PASS " + name + " (" + millis + " ms, " + result.getRunCount() + " tests"
                + (result.getIgnoreCount() > 0 ? ", " + result.getIgnoreCount() + " ignored by Apache)" : ")"));
        }
        return result.wasSuccessful();
    }

    /** What is wrong, and the first place in the tests. */
    private static String reason(Throwable error) {
        StringBuilder text = new StringBuilder(String.valueOf(error).replace('\n', ' '));
        for (StackTraceElement at : error.getStackTrace()) {
            if (at.getClassName().startsWith(PACKAGE)) {
                return text.append(" at ").append(at).toString();
            }
        }
        return text.toString();
    }
}
