package clients;

import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/**
 * What the broker acknowledged, or what a consumer was given: a line for each message, flushed
 * before the next step, so that the file never knows less than the client did. A cut last line is
 * an acknowledgement that was not written down, and is left out when the file is read.
 */
final class AckFile implements AutoCloseable {
    /** `topic queueId queueOffset offsetMsgId bodyHash` */
    record Line(String topic, int queueId, long offset, String offsetMsgId, String hash) {
        @Override
        public String toString() {
            return topic + " " + queueId + " " + offset + " " + offsetMsgId + " " + hash;
        }
    }

    private final BufferedWriter writer;

    AckFile(Path path) throws IOException {
        writer = Files.newBufferedWriter(path, StandardCharsets.UTF_8, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    synchronized void add(Line line) throws IOException {
        writer.write(line + "\n");
        writer.flush();
    }

    @Override
    public synchronized void close() throws IOException {
        writer.close();
    }

    static List<Line> read(Path path) throws IOException {
        String text = Files.readString(path, StandardCharsets.UTF_8);
        List<Line> lines = new ArrayList<>();
        for (String line : text.substring(0, text.lastIndexOf('\n') + 1).lines().toList()) {
            String[] fields = line.split(" ");
            lines.add(new Line(fields[0], Integer.parseInt(fields[1]), Long.parseLong(fields[2]), fields[3], fields[4]));
        }
        return lines;
    }

    static String hash(byte[] body) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(body), 0, 16);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java platform has SHA-256", e);
        }
    }
}
