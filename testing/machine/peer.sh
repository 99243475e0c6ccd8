#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The child of a client that has lost its power or its cable ends within the peer timeout
# and a second (R35), whether no data or much data was in flight. The test sets the interface
# of the client down.

set -uo pipefail
# shellcheck source=testing/machine/server.sh
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"

make_link

# connect KIND: connects a client, "silent" or "busy", which gets an echo, and 16 MiB of
# echoes if it is busy. It lives in its namespace until it is killed, with all of its group.
connect() {
  local reply='' peer
  # shellcheck disable=SC2016  # for that bash to expand
  exec {peer}< <(exec setsid ip netns exec "${theirs}" bash -c '
    exec 3<>"/dev/tcp/$1/$2" && echo hello >&3 && read -r reply <&3 || exit
    if [[ $3 == busy ]]; then
      cat /dev/zero >&3 &
      head -c 16M <&3 >/dev/null || exit
    fi
    echo "${reply}"
    exec cat <&3 >/dev/null' - "${our_address}" "${server_port}" "$1")
  clients+=($!)
  at_exit "kill -KILL -- -$! 2>/dev/null"
  read -r -t "${wait_limit}" -u "${peer}" reply
  [[ ${reply} == hello ]] || fail "no echo for the $1 client, but '${reply}'"
  exec {peer}<&-
}

for strategy in fork spares pool zygote auto; do
  ip -n "${theirs}" link set brood1 up
  start_server ip netns exec "${ours}" "$1/server/server" --listen="${our_address}:0" \
    --strategy="${strategy}" --peer_timeout=3s
  clients=()
  connect silent
  connect busy
  ip -n "${theirs}" link set brood1 down
  started="${EPOCHREALTIME/./}"
  for order in first last; do
    await_line ' after '  # "... exited with code 2", or "killed by SIGKILL"
    took=$(((${EPOCHREALTIME/./} - started) / 1000))
    ((took <= 4000)) || fail "${strategy}: the ${order} child was gone after ${took} ms"
    echo "${strategy}: the ${order} child was gone after ${took} ms"
  done
  for client in "${clients[@]}"; do kill -KILL -- "-${client}"; done
  stop_server
done
