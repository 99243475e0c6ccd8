#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0

"""Replays the contract against an echo server, over plain sockets.

    client.py PORT CONTRACT [DEADLINE_SECONDS]

contract.txt describes its lines. Exit code: 0 if every conversation went as
written, 1 if one did not (the client prints its name, line and bytes), 2 if the
contract itself cannot be read.
"""

import select
import socket
import sys
import time

EXCERPT_BYTES = 16


class Broken(Exception):
  """The server did not keep to the contract; the text says how."""


class Unreadable(Exception):
  """The contract has a line that this client does not understand."""


def bytes_from(spec):
  """Makes the bytes that a BYTES word of the contract stands for."""
  kind, _, rest = spec.partition(":")
  try:
    if kind == "hex":
      return bytes.fromhex(rest)
    if kind == "text":
      return rest.encode("utf-8")
    if kind == "repeat":
      count, pattern = rest.split(":")
      return bytes.fromhex(pattern) * int(count)
    if kind == "counter":
      first, count = map(int, rest.split(":"))
      numbers = range(first, first + (count + 3) // 4)
      return b"".join(number.to_bytes(4, "big") for number in numbers)[:count]
  except (ValueError, OverflowError) as error:
    raise Unreadable(f"no bytes can be made of {spec}: {error}") from error
  raise Unreadable(f"no such kind of bytes: {spec}")


def excerpt(data, around):
  """Shows the bytes near the place where two streams part, in hex."""
  begin = max(0, around - EXCERPT_BYTES // 2)
  shown = data[begin : begin + EXCERPT_BYTES]
  return f"from byte {begin}: {shown.hex(' ')}" if shown else f"from byte {begin}: nothing"


class Connection:
  """One connection. It reads while it writes, and no wait outlasts the deadline."""

  def __init__(self, port, deadline_seconds):
    self.deadline_seconds = deadline_seconds
    self.received = bytearray()  # what has arrived and no step has expected yet
    self.ended = False  # the server has closed
    self.socket = socket.create_connection(("127.0.0.1", port), timeout=deadline_seconds)
    self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    self.socket.setblocking(False)

  def send(self, data, chunk_bytes):
    until = self.deadline()
    for begin in range(0, len(data), chunk_bytes):
      unsent = memoryview(data)[begin : begin + chunk_bytes]
      while unsent:
        if not self.wait(until, writing=True):
          raise Broken(f"the server took no more bytes for {self.deadline_seconds} s")
        try:
          unsent = unsent[self.socket.send(unsent) :]
        except BlockingIOError:
          pass  # it was only readable

  def expect(self, wanted):
    until = self.deadline()
    why = ""
    while len(self.received) < len(wanted):
      if self.ended:
        why = "the server closed after"
        break
      if not self.wait(until):
        why = f"after {self.deadline_seconds} s there were"
        break
    got = bytes(self.received[: len(wanted)])
    del self.received[: len(wanted)]
    if got == wanted:
      return
    place = next((i for i, (g, w) in enumerate(zip(got, wanted)) if g != w), len(got))
    short = f"{why} {len(got)} of {len(wanted)} bytes; " if why else ""
    raise Broken(
        f"{short}first difference at byte {place}\n"
        f"  expected {excerpt(wanted, place)}\n"
        f"  got      {excerpt(got, place)}"
    )

  def exchange(self, data, piece_bytes):
    for begin in range(0, len(data), piece_bytes):
      piece = data[begin : begin + piece_bytes]
      self.send(piece, len(piece))
      self.expect(piece)

  def half_close(self):
    self.socket.shutdown(socket.SHUT_WR)

  def expect_eof(self):
    until = self.deadline()
    while not self.ended:
      if not self.wait(until):
        raise Broken(f"the server has not closed after {self.deadline_seconds} s")
    if self.received:
      raise Broken(
          f"{len(self.received)} bytes came that were not expected\n"
          f"  got      {excerpt(bytes(self.received), 0)}"
      )

  def close(self):
    self.socket.close()

  def deadline(self):
    return time.monotonic() + self.deadline_seconds

  def wait(self, until, writing=False):
    """Waits until bytes or the end arrive or, if `writing`, some can leave.

    Takes what arrived. False: it is too late.
    """
    readers = [] if self.ended else [self.socket]
    writers = [self.socket] if writing else []
    readable, writable, _ = select.select(readers, writers, [], max(0, until - time.monotonic()))
    if readable:
      arrived = self.socket.recv(65536)
      self.received += arrived
      self.ended = not arrived
    return bool(readable or writable)


class Conversation:
  """What one client says and hears: some connections, and how the next send is cut up."""

  def __init__(self, name, port, deadline_seconds):
    self.name = name
    self.port = port
    self.deadline_seconds = deadline_seconds
    self.connections = {}
    self.current = "the only one"
    self.chunk_bytes = None

  def take(self, step):
    """Does one step of the contract."""
    verb, _, rest = step.partition(" ")
    if verb == "over":
      self.current = rest
    elif verb == "chunk":
      self.chunk_bytes = count_from(rest)
    elif verb == "send":
      data = bytes_from(rest)
      self.connection().send(data, self.chunk_bytes or len(data))
    elif verb == "expect":
      self.connection().expect(bytes_from(rest))
    elif verb == "exchange":
      piece_bytes, _, spec = rest.partition(" ")
      self.connection().exchange(bytes_from(spec), count_from(piece_bytes))
    elif step == "half-close":
      self.connection().half_close()
    elif step == "expect-eof":
      self.connection().expect_eof()
    elif step == "close":
      self.connection().close()
    else:
      raise Unreadable(f"no such step: {step}")

  def connection(self):
    if self.current not in self.connections:
      self.connections[self.current] = Connection(self.port, self.deadline_seconds)
    return self.connections[self.current]

  def end(self):
    for connection in self.connections.values():
      connection.close()


def count_from(word):
  if not word.isdecimal() or int(word) == 0:
    raise Unreadable(f"not a number of bytes: {word}")
  return int(word)


def replay(contract, port, deadline_seconds):
  """Holds every conversation of the contract. Returns how many, of how many steps."""
  conversation = None
  conversations = steps = 0
  for number, line in enumerate(contract, start=1):
    line = line.rstrip("\n")
    try:
      if not line or line.startswith(("#", "server ")):
        continue
      if line.startswith("conversation "):
        if conversation:
          conversation.end()
        name = line.partition(" ")[2]
        conversation = Conversation(name, port, deadline_seconds)
        conversations += 1
      elif line.startswith("  ") and conversation:
        conversation.take(line[2:])
        steps += 1
      else:
        raise Unreadable(f"no such line: {line}")
    except Unreadable as error:
      sys.exit(fault(2, f"{contract.name} line {number}: {error}"))
    except (Broken, OSError) as error:
      place = f"conversation {conversation.name}, line {number}: {line.strip()}"
      sys.exit(fault(1, f"{place}\n  {error}"))
  if conversation:
    conversation.end()
  return conversations, steps


def fault(exit_code, text):
  print(f"client.py: {text}", file=sys.stderr)
  return exit_code


def main():
  if len(sys.argv) not in (3, 4):
    sys.exit("usage: client.py PORT CONTRACT [DEADLINE_SECONDS]")
  port = int(sys.argv[1])
  deadline_seconds = int(sys.argv[3]) if len(sys.argv) == 4 else 20
  with open(sys.argv[2], encoding="utf-8", newline="\n") as contract:
    conversations, steps = replay(contract, port, deadline_seconds)
  print(f"{conversations} conversations, {steps} steps")


if __name__ == "__main__":
  main()
