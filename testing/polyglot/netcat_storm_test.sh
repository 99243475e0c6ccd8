#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# 300 netcats at once, each with bytes of its own; each gets exactly its own bytes back.
#
#     netcat_storm_test.sh SERVER
#
# They really are served at once: no netcat half-closes before the gate opens, and the gate
# opens when as many netcats have their whole answer as the server may serve together. At
# that moment the server has exactly that many children, one for each; all other netcats
# wait in the backlog.

set -o nounset -o pipefail
# shellcheck source=server_under_test.sh
source "$(dirname "$0")/server_under_test.sh"
# shellcheck source=languages.sh
source "$(dirname "$0")/languages.sh"

server=$1
netcats=300
answered=$scratch/answered    # one line from each netcat that has its whole answer

# storm TOGETHER FLAG...: runs all netcats against a server with these flags, which serves
# TOGETHER connections at a time.
storm() {
  local together=$1 n answers children pids=()
  start_server "$server" "${@:2}"
  rm -f "$scratch/gate" "$answered"
  mkfifo "$scratch/gate" "$answered"
  exec {gate_keeper}<>"$scratch/gate"
  exec {gate}<"$scratch/gate"
  exec {answers}<>"$answered"
  for ((n = 1; n <= netcats; ++n)); do
    words_of "$n" >"$scratch/said.$n"
    netcat "$n" {gate_keeper}>&- &
    pids[n]=$!
  done
  exec {gate}<&-

  for ((n = 0; n < together; ++n)); do
    read -r -t "$wait_limit" -u "$answers" ||
      fail "before any netcat has half-closed, only $n have their answer, not $together; $(differences)"
  done
  children=$(processes_of parent | wc -l)
  ((children == together)) || fail "it serves $together connections, with $children children"

  exec {gate_keeper}>&-
  for n in "${!pids[@]}"; do
    wait "${pids[n]}" || fail "netcat $n did not get exactly its words; $(differences)"
  done
  exec {answers}<&-
  await_no_children
  stop_server
  echo "server ${*:2}: $netcats netcats, each with its own answer, $together at a time"
}

# words_of N: prints what the netcat N sends: 1 to 4 KiB, with its number in each line.
words_of() {
  seq -f "netcat $1 says %g and nothing else" 1 "$((35 + $1 % 75))"
}

# netcat N: sends its words at once, and half-closes when the gate opens. Succeeds if the
# same words come back, and no other byte.
netcat() {
  local said=$scratch/said.$1
  cat "$said" - <&"$gate" | timeout "$((wait_limit + 15))" nc -N 127.0.0.1 "$server_port" | {
    head -c "$(stat -c %s "$said")" | cmp -b "$said" - >>"$scratch/differences" 2>&1 &&
      echo "$1" >"$answered" &&
      (($(wc -c) == 0))
  }
}

differences() {
  echo "the differences: $(head -n 3 "$scratch/differences")"
}

require bash
storm "$netcats"
storm 40 --max_connections=40
