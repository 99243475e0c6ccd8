// SPDX-License-Identifier: Apache-2.0

// Replays the contract against an echo server, in plain Java (one file, from Java 11 on).
//
//     java Client.java PORT CONTRACT [DEADLINE_SECONDS]
//
// contract.txt describes its lines. Exit code: 0 if every conversation went as
// written, 1 if one did not (the client prints its name, line and bytes), 2 if the
// contract itself cannot be read.

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

public final class Client {
  private static final int EXCERPT_BYTES = 16;

  public static void main(String[] args) throws IOException {
    if (args.length != 2 && args.length != 3) {
      System.err.println("usage: java Client.java PORT CONTRACT [DEADLINE_SECONDS]");
      System.exit(2);
    }
    int deadlineSeconds = args.length == 3 ? Integer.parseInt(args[2]) : 20;
    new Client(Integer.parseInt(args[0]), args[1], deadlineSeconds).replay();
  }

  /** The server did not keep to the contract; the message says how. */
  private static final class Broken extends Exception {
    Broken(String how) {
      super(how);
    }
  }

  /** The contract has a line that this client does not understand. */
  private static final class Unreadable extends RuntimeException {
    Unreadable(String what) {
      super(what);
    }
  }

  private final int port;
  private final String contract;
  private final int deadlineSeconds;

  private Client(int port, String contract, int deadlineSeconds) {
    this.port = port;
    this.contract = contract;
    this.deadlineSeconds = deadlineSeconds;
  }

  /** Runs every conversation of the contract with the server. */
  private void replay() throws IOException {
    List<String> lines = Files.readAllLines(Path.of(contract), StandardCharsets.UTF_8);
    Conversation conversation = null;
    int conversations = 0;
    int steps = 0;
    for (int number = 1; number <= lines.size(); number++) {
      String line = lines.get(number - 1);
      try {
        if (line.isEmpty() || line.startsWith("#") || line.startsWith("server ")) {
          continue;
        }
        if (line.startsWith("conversation ")) {
          if (conversation != null) {
            conversation.end();
          }
          conversation = new Conversation(line.substring("conversation ".length()));
          conversations++;
        } else if (line.startsWith("  ") && conversation != null) {
          conversation.take(line.substring(2));
          steps++;
        } else {
          throw new Unreadable("no such line: " + line);
        }
      } catch (Unreadable error) {
        fail(2, contract + " line " + number + ": " + error.getMessage());
      } catch (Broken | IOException error) {
        String place = "conversation " + conversation.name + ", line " + number + ": " + line.strip();
        fail(1, place + "\n  " + error.getMessage());
      }
    }
    if (conversation != null) {
      conversation.end();
    }
    System.out.println(conversations + " conversations, " + steps + " steps");
  }

  private static void fail(int exitCode, String text) {
    System.err.println("Client.java: " + text);
    System.exit(exitCode);
  }

  /** What one client sends and receives: its connections, and the chunk of the next send. */
  private final class Conversation {
    final String name;
    private final Map<String, Connection> connections = new HashMap<>();
    private String current = "the only one";
    private int chunkBytes = Integer.MAX_VALUE;

    Conversation(String name) {
      this.name = name;
    }

    /** Does one step of the contract. */
    void take(String step) throws Broken, IOException {
      String[] words = step.split(" ", 2);
      String rest = words.length == 2 ? words[1] : "";
      switch (words[0]) {
        case "over":
          current = rest;
          break;
        case "chunk":
          chunkBytes = countFrom(rest);
          break;
        case "send":
          connection().send(bytesFrom(rest), chunkBytes);
          break;
        case "expect":
          connection().expect(bytesFrom(rest));
          break;
        case "exchange":
          String[] parts = rest.split(" ", 2);
          connection().exchange(bytesFrom(parts[parts.length - 1]), countFrom(parts[0]));
          break;
        case "half-close":
          connection().halfClose();
          break;
        case "expect-eof":
          connection().expectEof();
          break;
        case "close":
          connection().close();
          break;
        default:
          throw new Unreadable("no such step: " + step);
      }
    }

    /** Returns the current connection, and opens it if this is its first step. */
    private Connection connection() throws IOException {
      if (!connections.containsKey(current)) {
        connections.put(current, new Connection());
      }
      return connections.get(current);
    }

    void end() throws IOException {
      for (Connection connection : connections.values()) {
        connection.close();
      }
    }
  }

  /** One connection. It reads while it writes, and no wait is longer than the deadline. */
  private final class Connection {
    private final SocketChannel channel = SocketChannel.open();
    private final Selector selector = Selector.open();
    private final SelectionKey key;
    private final ByteBuffer arriving = ByteBuffer.allocate(65536);
    /** The bytes that have arrived and that no step has expected yet. */
    private final ByteArrayOutputStream received = new ByteArrayOutputStream();
    /** Whether the server has closed. */
    private boolean ended;

    Connection() throws IOException {
      InetAddress loopback = InetAddress.getByAddress(new byte[] {127, 0, 0, 1});
      channel.socket().connect(new InetSocketAddress(loopback, port), deadlineSeconds * 1000);
      channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
      channel.configureBlocking(false);
      key = channel.register(selector, SelectionKey.OP_READ);
    }

    void send(byte[] bytes, int chunkBytes) throws Broken, IOException {
      long until = deadline();
      ByteBuffer unsent = ByteBuffer.wrap(bytes);
      while (unsent.position() < bytes.length) {
        unsent.limit(unsent.position() + Math.min(chunkBytes, bytes.length - unsent.position()));
        while (unsent.hasRemaining()) {
          if (!await(until, SelectionKey.OP_WRITE)) {
            throw new Broken("the server took no more bytes for " + deadlineSeconds + " s");
          }
          channel.write(unsent); // takes none if it was only readable
        }
      }
    }

    void expect(byte[] wanted) throws Broken, IOException {
      long until = deadline();
      String why = "";
      while (received.size() < wanted.length && why.isEmpty()) {
        if (ended) {
          why = "the server closed after";
        } else if (!await(until, 0)) {
          why = "after " + deadlineSeconds + " s there were";
        }
      }
      byte[] got = takeReceived(wanted.length);
      int place = Arrays.mismatch(got, wanted);
      if (place < 0) {
        return;
      }
      String count = got.length + " of " + wanted.length + " bytes; ";
      throw new Broken((why.isEmpty() ? "" : why + " " + count) + "first difference at byte " + place
          + "\n  expected " + excerpt(wanted, place)
          + "\n  got      " + excerpt(got, place));
    }

    void exchange(byte[] bytes, int pieceBytes) throws Broken, IOException {
      for (int begin = 0; begin < bytes.length; begin += pieceBytes) {
        byte[] piece = Arrays.copyOfRange(bytes, begin, Math.min(begin + pieceBytes, bytes.length));
        send(piece, piece.length);
        expect(piece);
      }
    }

    void halfClose() throws IOException {
      channel.shutdownOutput();
    }

    void expectEof() throws Broken, IOException {
      long until = deadline();
      while (!ended) {
        if (!await(until, 0)) {
          throw new Broken("the server has not closed after " + deadlineSeconds + " s");
        }
      }
      if (received.size() > 0) {
        throw new Broken(received.size() + " bytes came that were not expected"
            + "\n  got      " + excerpt(received.toByteArray(), 0));
      }
    }

    void close() throws IOException {
      channel.close();
      selector.close();
    }

    private long deadline() {
      return System.nanoTime() + deadlineSeconds * 1_000_000_000L;
    }

    /**
     * Waits until bytes or the end arrive or, for OP_WRITE, bytes can be written. Stores what
     * arrived. Returns false after the deadline.
     */
    private boolean await(long until, int writing) throws IOException {
      key.interestOps(writing | (ended ? 0 : SelectionKey.OP_READ));
      long milliseconds = (until - System.nanoTime()) / 1_000_000;
      if (milliseconds <= 0 || selector.select(milliseconds) == 0) {
        return false;
      }
      selector.selectedKeys().clear();
      if (key.isReadable()) {
        ended = channel.read(arriving.clear()) < 0;
        received.write(arriving.array(), 0, arriving.position());
      }
      return true;
    }

    /** Removes and returns the first bytes that have arrived, up to the given number. */
    private byte[] takeReceived(int count) {
      byte[] all = received.toByteArray();
      int taken = Math.min(count, all.length);
      received.reset();
      received.write(all, taken, all.length - taken);
      return Arrays.copyOf(all, taken);
    }
  }

  /** Makes the bytes that a BYTES word of the contract stands for. */
  private static byte[] bytesFrom(String spec) {
    String[] words = spec.split(":", 2);
    String rest = words[words.length - 1];
    try {
      switch (words[0]) {
        case "hex":
          return bytesFromHex(rest);
        case "text":
          return rest.getBytes(StandardCharsets.UTF_8);
        case "repeat": {
          String[] parts = rest.split(":");
          byte[] pattern = bytesFromHex(parts[1]);
          ByteBuffer bytes = ByteBuffer.allocate(Integer.parseInt(parts[0]) * pattern.length);
          while (bytes.hasRemaining()) {
            bytes.put(pattern);
          }
          return bytes.array();
        }
        case "counter": {
          String[] parts = rest.split(":");
          int count = Integer.parseInt(parts[1]);
          ByteBuffer bytes = ByteBuffer.allocate(count + 4);
          for (long number = Long.parseLong(parts[0]); bytes.position() < count; number++) {
            bytes.putInt((int) number);
          }
          return Arrays.copyOf(bytes.array(), count);
        }
        default:
          throw new Unreadable("no such kind of bytes: " + spec);
      }
    } catch (NumberFormatException | IndexOutOfBoundsException error) {
      throw new Unreadable("no bytes can be made of " + spec);
    }
  }

  private static byte[] bytesFromHex(String hex) {
    byte[] bytes = new byte[hex.length() / 2];
    if (hex.length() % 2 != 0) {
      throw new NumberFormatException();
    }
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
    }
    return bytes;
  }

  private static int countFrom(String word) {
    if (!word.matches("[1-9][0-9]*")) {
      throw new Unreadable("not a number of bytes: " + word);
    }
    return Integer.parseInt(word);
  }

  /** Shows the bytes near a place, in hex. */
  private static String excerpt(byte[] bytes, int around) {
    int begin = Math.max(0, around - EXCERPT_BYTES / 2);
    StringBuilder text = new StringBuilder("from byte " + begin + ":");
    for (int i = begin; i < Math.min(begin + EXCERPT_BYTES, bytes.length); i++) {
      text.append(String.format(" %02x", bytes[i]));
    }
    return begin < bytes.length ? text.toString() : text + " nothing";
  }
}
