#!/bin/bash
#
# A client that has lost its power or its cable, as far as anybody can tell, loses its
# child within the peer timeout and a second (R35), whether nothing or much was under way.

set -uo pipefail
# shellcheck source=testing/machine/server.sh
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"

((EUID == 0)) || skip 'only root makes network namespaces'
command -v ip >/dev/null || skip 'there is no ip (iproute2)'
readonly ours="brood_server_$$" theirs="brood_client_$$" address=192.0.2.1
ip netns add "${ours}" 2>/dev/null || skip 'there is no network namespace to be had'
at_exit "ip netns del ${ours}"
ip netns add "${theirs}" || skip 'there is no second network namespace to be had'
at_exit "ip netns del ${theirs}"
ip -n "${ours}" link add brood0 type veth peer name brood1 netns "${theirs}" ||
  skip 'there is no pair of interfaces to be had'
ip -n "${ours}" address add "${address}/30" dev brood0
ip -n "${theirs}" address add 192.0.2.2/30 dev brood1
ip -n "${ours}" link set brood0 up

for strategy in fork spares pool zygote auto; do
  for client in silent busy; do
    ip -n "${theirs}" link set brood1 up
    start_server ip netns exec "${ours}" "$1/server/server" --listen="${address}:0" \
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
      exec cat <&3 >/dev/null' - "${address}" "${server_port}" "${client}")
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
