package clients;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** `--name value` pairs with defaults; a name that has none is an error. */
final class Options {
    private final Map<String, String> values = new LinkedHashMap<>();

    /** Defaults as name, value, name, value; an empty default means that the option has to be given. */
    Options(String... defaults) {
        for (int i = 0; i < defaults.length; i += 2) {
            values.put(defaults[i], defaults[i + 1]);
        }
    }

    Options parse(String[] args, int from) throws Failure {
        for (int i = from; i < args.length; i += 2) {
            String name = args[i].startsWith("--") ? args[i].substring(2) : "";
            Failure.unless(values.containsKey(name) && i + 1 < args.length,
                "usage: --" + String.join(" X --", values.keySet()) + " X, not " + Arrays.toString(args));
            values.put(name, args[i + 1]);
        }
        for (Map.Entry<String, String> option : values.entrySet()) {
            Failure.unless(!option.getValue().isEmpty(), "--" + option.getKey() + " is needed");
        }
        return this;
    }

    String text(String name) {
        return values.get(name);
    }

    int number(String name) {
        return Integer.parseInt(values.get(name));
    }
}
