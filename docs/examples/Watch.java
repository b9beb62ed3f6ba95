import java.io.*;
import java.net.HttpURLConnection;
import java.net.URL;
import java.nio.charset.StandardCharsets;
import java.util.*;

/**
 * Watches a job of taskbridge: prints each of its events except progress once, in order, as JSON.
 *
 * <p>Written from asyncapi.json and openapi.json alone, without a library: {@code java Watch.java
 * https://jobs.example.com JOB}, with the token in the variable TOKEN. Exit status: 0 if the job
 * succeeded, 1 if not, 2 if the server refuses the client.
 */
public class Watch {
    /** Longer than the server is ever silent: it sends a comment every 15 seconds. */
    private static final int SILENCE = 45_000;

    private final String url;
    private final String token;
    /** Where the client is: the id of the last event that had one. */
    private String id = "";
    private long pause = 2000;
    private boolean hasBegun;
    /** The newest (run, seq, tick) of each task, and events that have none of their own. */
    private final Map<Object, long[]> orders = new HashMap<>();
    private final Set<Object> unnumbered = new HashSet<>();

    Watch(String server, String job, String token) {
        this.url = server + "/api/jobs/" + job + "/events";
        this.token = token;
    }

    public static void main(String[] arguments) throws Exception {
        System.exit(new Watch(arguments[0], arguments[1], System.getenv("TOKEN")).run());
    }

    /** Reads stream after stream until the job's end; returns the exit status. */
    int run() throws InterruptedException {
        while (true) {
            try {
                Integer status = readStream();
                if (status != null) return status;
            } catch (IOException error) {
                System.err.println("reconnecting: " + error.getMessage());
            }
            Thread.sleep(pause);
        }
    }

    /** Reads one stream; returns the exit status, or null to connect again. */
    private Integer readStream() throws IOException {
        HttpURLConnection connection = (HttpURLConnection) new URL(url).openConnection();
        connection.setConnectTimeout(SILENCE);
        connection.setReadTimeout(SILENCE);
        connection.setRequestProperty("Authorization", "Bearer " + token);
        if (!id.isEmpty()) connection.setRequestProperty("Last-Event-ID", id);
        int status = connection.getResponseCode();
        if (status == 204) return 0; // the end was told before
        if (status != 200) return refused(connection.getErrorStream());
        InputStream body = connection.getInputStream();
        try (BufferedReader lines = new BufferedReader(new InputStreamReader(body, StandardCharsets.UTF_8))) {
            Map<String, String> fields = new HashMap<>();
            for (String line; (line = lines.readLine()) != null; ) {
                if (line.startsWith(":")) continue;
                if (!line.isEmpty()) {
                    int colon = line.indexOf(": ");
                    fields.put(line.substring(0, colon), line.substring(colon + 2));
                    continue;
                }
                Integer end = take(fields);
                if (end != null) return end;
                fields.clear();
            }
        }
        return null;
    }

    /** Takes one event; returns the exit status if it is the last one. */
    private Integer take(Map<String, String> fields) {
        if (fields.containsKey("retry")) pause = Long.parseLong(fields.get("retry"));
        if (fields.containsKey("data")) {
            String text = fields.get("data");
            Map<?, ?> data = (Map<?, ?>) new Json(text).value();
            switch (fields.get("event")) {
                case "snapshot" -> begin(data);
                case "job" -> print(data, text);
                case "end" -> { return "succeeded".equals(data.get("state")) ? 0 : 1; }
                case "refused" -> { return refused(data); }
                default -> {} // notices, and the application's own events
            }
        }
        id = fields.getOrDefault("id", id);
        return null;
    }

    private void begin(Map<?, ?> answer) {
        if (hasBegun && answer.get("recovered") != Boolean.TRUE) System.err.println("events may be missing");
        hasBegun = true;
    }

    private void print(Map<?, ?> event, String text) {
        if (isNew(event) && !"progress".equals(event.get("type"))) System.out.println(text);
    }

    /** Returns whether an event is new: the server may repeat its own conclusions, which are not numbered. */
    private boolean isNew(Map<?, ?> event) {
        Object task = event.get("task"), type = event.get("type");
        if (((Map<?, ?>) event.get("data")).get("verdict") == Boolean.TRUE || "cancelling".equals(type))
            return unnumbered.add(List.of(task, type, event.get("at")));
        long[] order = {number(event, "run"), number(event, "seq"), number(event, "tick")};
        long[] before = orders.put(task, order);
        return before == null || Arrays.compare(order, before) > 0;
    }

    private static long number(Map<?, ?> event, String field) {
        return ((Double) event.get(field)).longValue();
    }

    private static Integer refused(InputStream body) throws IOException {
        if (body == null) return null;
        try (body) {
            Object answer = new Json(new String(body.readAllBytes(), StandardCharsets.UTF_8)).value();
            return refused((Map<?, ?>) ((Map<?, ?>) answer).get("error"));
        } catch (IllegalArgumentException error) {
            return null; // a proxy's page: no server answers
        }
    }

    private static Integer refused(Map<?, ?> error) {
        System.err.println(error.get("message"));
        return error.get("temporary") == Boolean.TRUE ? null : 2;
    }

    /** A reader of JSON: objects are maps, numbers doubles. */
    static final class Json {
        private final String text;
        private int at;

        Json(String text) { this.text = text; }

        Object value() {
            return switch (next()) {
                case '{' -> object();
                case '[' -> array();
                case '"' -> string();
                default -> scalar();
            };
        }

        private Map<String, Object> object() {
            Map<String, Object> found = new HashMap<>();
            for (at++; next() != '}'; skip(',')) {
                String name = string();
                skip(':');
                found.put(name, value());
            }
            at++;
            return found;
        }

        private List<Object> array() {
            List<Object> found = new ArrayList<>();
            for (at++; next() != ']'; skip(',')) found.add(value());
            at++;
            return found;
        }

        private String string() {
            StringBuilder found = new StringBuilder();
            next();
            while (text.charAt(++at) != '"') {
                char one = text.charAt(at);
                if (one != '\\') found.append(one);
                else if (text.charAt(++at) != 'u') found.append("\"\\/\b\f\n\r\t".charAt("\"\\/bfnrt".indexOf(text.charAt(at))));
                else found.append((char) Integer.parseInt(text.substring(at + 1, (at += 4) + 1), 16));
            }
            at++;
            return found.toString();
        }

        private Object scalar() {
            int begin = at;
            while (at < text.length() && ",]} \n\r\t".indexOf(text.charAt(at)) < 0) at++;
            String word = text.substring(begin, at);
            if (word.equals("null")) return null;
            return word.equals("true") || word.equals("false") ? (Object) word.equals("true") : Double.valueOf(word);
        }

        private char next() {
            while (at < text.length() && " \n\r\t".indexOf(text.charAt(at)) >= 0) at++;
            if (at == text.length()) throw new IllegalArgumentException("not JSON");
            return text.charAt(at);
        }

        private void skip(char separator) {
            if (next() == separator) at++;
        }
    }
}
