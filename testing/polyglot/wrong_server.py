#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0

"""An echo server with a chosen fault, so that a test can see the contract fail.

    wrong_server.py [--fault=NAME] [FLAG...]

It starts and stops as the real server does and ignores other flags. Without a
fault it keeps the contract. It is one process with a thread for each connection,
so a fault can mix up connections, which Brood's processes cannot.
"""

import signal
import socket
import sys
import threading

MAX_SIZE = 1024

open_connections = []  # oldest first


def swap_the_last_two(data):
  return data[:-2] + data[:-3:-1] if len(data) > 1000 else data


# Faults that change the bytes of one read.
CHANGES = {
    "drops_the_last_byte_of_a_full_read": lambda data: data[: MAX_SIZE - 1],
    "swaps_two_bytes_of_a_long_read": swap_the_last_two,
    "takes_nul_for_the_end": lambda data: data.partition(b"\0")[0],
    "tidies_line_ends": lambda data: data.replace(b"\r\n", b"\n"),
    "believes_in_utf8": lambda data: data.decode("utf-8", "replace").encode("utf-8"),
}

# Other faults.
HABITS = {
    "greets",
    "never_closes",
    "waits_for_the_end",
    "closes_after_one_full_read",
    "serves_one_at_a_time",
    "answers_the_last_client",
}


def serve(connection, fault):
  """Echoes what one client sends, with the fault, until the client half-closes."""
  change = CHANGES.get(fault, lambda data: data)
  held_back = b""
  answering = True
  if fault == "greets":
    connection.sendall(b"!")
  while data := connection.recv(MAX_SIZE):
    if fault == "waits_for_the_end":
      held_back += data
    elif fault == "answers_the_last_client":
      open_connections[-1].sendall(data)
    elif answering:
      connection.sendall(change(data))
    if fault == "closes_after_one_full_read" and len(data) == MAX_SIZE and answering:
      connection.shutdown(socket.SHUT_WR)
      answering = False
  connection.sendall(held_back)
  if fault == "never_closes":
    signal.pause()


def serve_and_close(connection, fault):
  open_connections.append(connection)
  try:
    serve(connection, fault)
  except OSError:
    pass  # the client has hung up
  open_connections.remove(connection)
  connection.close()


def main():
  flags = dict(flag.lstrip("-").split("=") for flag in sys.argv[1:])
  fault = flags.get("fault")
  if fault and fault not in CHANGES and fault not in HABITS:
    sys.exit(f"wrong_server.py: no such fault: {fault}")
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
  listener = socket.create_server(("127.0.0.1", 0))
  print(f"listening 127.0.0.1:{listener.getsockname()[1]}", flush=True)
  while True:
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if fault == "serves_one_at_a_time":
      serve_and_close(connection, fault)
    else:
      threading.Thread(target=serve_and_close, args=(connection, fault), daemon=True).start()


if __name__ == "__main__":
  main()
