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

    /** At a time of `Scenarios`' own; most of their time is waiting for held pulls and rebalancing. */
    private static final int AT_A_TIME = 4;

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

    private static Scenarios clients() {
        Scenarios scenarios = new Scenarios(AT_A_TIME);
        scenarios.addClients();
        return scenarios;
    }

    private void addClients() {
        all.put("send_sync", Sending::sync);
        all.put("send_async", Sending::async);
        all.put("send_oneway", Sending::oneway);
        all.put("send_batch", Sending::batch);
        all.put("send_again", Repeating::once);
        all.put("send_keys_tags_props", Sending::keysTagsProps);
        all.put("compressed_body", Sending::compressedBody);
        all.put("large_body", Sending::largeBody);
        all.put("auto_created_topic", Topics::autoCreated);
        all.put("admin_created_topic", Topics::adminCreated);
        all.put("broker_config", Topics::brokerConfig);
        all.put("oversized_body", BadInput::oversizedBody);
        all.put("oversized_properties", BadInput::oversizedProperties);
        all.put("empty_body", BadInput::emptyBody);
        all.put("illegal_topic", BadInput::illegalTopic);
        all.put("system_topic", BadInput::systemTopic);
        all.put("bad_queue_id", BadInput::badQueueId);
        all.put("unknown_topic", BadInput::unknownTopic);
        all.put("unknown_code", BadInput::unknownCode);
        all.put("unknown_topic_without_autocreate", BadInput::unknownTopicWithoutAutoCreate);
        all.put("push_long_polling", Pushing::longPolling);
        all.put("push_starts", Pushing::starts);
        all.put("cluster_two_consumers", Pushing::clusterTwoConsumers);
        all.put("broadcasting", Pushing::broadcasting);
        all.put("tag_filter", Pushing::tagFilter);
        all.put("sql_filter", Filtering::sql);
        all.put("sql_bad_expression", Filtering::badExpression);
        all.put("sql_long_poll_wakes_on_match", Filtering::longPollWakesOnMatch);
        all.put("orderly_consumer", Pushing::orderly);
        all.put("request_reply", Replying::requestReply);
        all.put("request_timeout", Replying::requestTimeout);
        all.put("transaction_commit", Transacting::commit);
        all.put("transaction_rollback", Transacting::rollback);
        all.put("transaction_check_back", Transacting::checkBack);
        all.put("transaction_check_other_producer", Transacting::checkOtherProducer);
        all.put("reset_offset_by_time", Resetting::byTime);
        all.put("from_first", Positions::fromFirst);
        all.put("from_last", Positions::fromLast);
        all.put("from_timestamp", Positions::fromTimestamp);
        all.put("offsets_resume", Positions::resume);
        all.put("pull_consumer", Pulling::pull);
        all.put("pull_held", Pulling::held);
        all.put("pull_tag_filter", Pulling::tagFilter);
        all.put("lite_pull_subscribe", Pulling::litePullSubscribe);
        all.put("lite_pull_assign_seek", Pulling::litePullAssignSeek);
        all.put("min_max_offsets", Offsets::minMax);
        all.put("offsets_exact_at_once", Offsets::exactAtOnce);
        all.put("search_offset", Offsets::search);
        all.put("commit_offsets", Offsets::commit);
        all.put("delay_level", Delayed::level);
        all.put("timer_ms", Delayed::timerMillis);
        all.put("timer_deliver_at", Delayed::timerDeliverAt);
        all.put("timer_past", Delayed::timerPast);
        all.put("timer_exact", Delayed::timerExact);
        all.put("recall", Delayed::recall);
        all.put("retry_then_dlq", Retrying::retryThenDeadLetter);
        all.put("send_back_level", Retrying::sendBackLevel);
        all.put("orderly_suspend_then_dlq", Retrying::orderlySuspendThenDeadLetter);
        flagOf.put("send_again", "--exact");
        flagOf.put("timer_exact", "--exact");
        flagOf.put("recall", "--recall");
        flagOf.put("unknown_topic_without_autocreate", "--no-auto-create");
        flagOf.put("offsets_exact_at_once", "--exact");
        flagOf.put("push_starts", "--exact");
    }

    public static void main(String[] args) throws Exception {
        clients().start(args);
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
