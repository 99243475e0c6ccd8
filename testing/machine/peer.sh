#!/bin/bash
#
# A client that has lost its power or its cable, as far as anybody can tell, loses its
# child within the peer timeout and a second (R35), whether nothing or much was under way.

set -uo pipefail
# shellcheck source=testing/machine/server.sh
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"

make_link
for strategy in fork spares pool zygote auto; do
  for client in silent busy; do
    ip -n "${theirs}" link set brood1 up
    start_server ip netns exec "${ours}" "$1/server/server" --listen="${our_address}:0" \
      --strategy="${strategy}" --peer_timeout=3s
    # It lives in its namespace until it is killed, with all of its group.
    # shellcheck disable=SC2016  # for that bash to expand
    exec {peer}< <(exec setsid ip netns exec "${theirs}" bash -c '
      exec 3<>"/dev/tcp/$1/$2" && echo hello >&3 && read -r reply <&3 || exit
      if [[ $3 == busy ]]; then
        cat /dev/zero >&3 &
        head -c 16M <&3 >/dev/null || exit
      fi
      echo "${reply}"
      exec cat <&3 >/dev/null' - "${our_address}" "${server_port}" "${client}")
    client_pid=$!
    at_exit "kill -KILL -- -${client_pid} 2>/dev/null"
    reply=''
    read -r -t "${patience}" -u "${peer}" reply
    [[ ${reply} == hello ]] || fail "no echo, but '${reply}'"
    ip -n "${theirs}" link set brood1 down
    started="${EPOCHREALTIME/./}"
    await_line ' after '  # "... exited with code 2", or "killed by SIGKILL"
    took=$(((${EPOCHREALTIME/./} - started) / 1000))
    kill -KILL -- "-${client_pid}"
    exec {peer}<&-
    ((took <= 4000)) || fail "${strategy}, a ${client} client: its child was gone after ${took} ms"
    stop_server
    echo "${strategy}, a ${client} client: its child was gone after ${took} ms"
  done
done
