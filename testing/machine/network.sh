#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Over a network that loses, delays, reorders and duplicates packets (netem), or that drops
# packets beyond its rate (tbf, if the kernel has no netem), each client gets the same bytes
# back, and each connection is counted (R52).

set -uo pipefail
# shellcheck source=testing/machine/server.sh
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"

readonly clients=8
make_link
command -v tc >/dev/null || skip 'there is no tc (iproute2)'
ip -n "${theirs}" link set brood1 up
spoil() { # NAMESPACE INTERFACE
  local add=(tc -n "$1" qdisc add dev "$2" root)
  "${add[@]}" netem delay 5ms 5ms loss 5% reorder 25% duplicate 2% 2>/dev/null ||
    "${add[@]}" tbf rate 40mbit burst 5kb limit 15kb 2>/dev/null ||
    skip 'the kernel has neither netem nor tbf'
}
spoil "${ours}" brood0
spoil "${theirs}" brood1

lost() {
  { tc -n "${ours}" -s qdisc show dev brood0 && tc -n "${theirs}" -s qdisc show dev brood1; } |
    sed -n 's/.*dropped \([0-9]*\),.*/\1/p' | awk '{ sum += $1 } END { print sum + 0 }'
}

folder="$(mktemp -d)" || fail 'no folder can be created'
at_exit "rm -r '${folder}'"
head -c 256K /dev/urandom >"${folder}/sent"
for strategy in fork spares pool zygote auto; do
  start_server ip netns exec "${ours}" "$1/server/server" --listen="${our_address}:0" \
    --strategy="${strategy}"
  pids=()
  for ((i = 0; i < clients; ++i)); do
    # shellcheck disable=SC2016  # for that bash to expand
    timeout $((6 * wait_limit)) ip netns exec "${theirs}" bash -c '
      exec 3<>"/dev/tcp/$1/$2" || exit
      cat "$3" >&3 &
      head -c "$(stat -c %s "$3")" <&3 | cmp - "$3"' \
      - "${our_address}" "${server_port}" "${folder}/sent" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do
    wait "${pid}" || fail "${strategy}: a client did not get back what it sent"
  done
  for ((i = 0; i < clients; ++i)); do await_line ' after '; done
  stop_server
  echo "${strategy}: ${clients} of ${clients} clients got their bytes back; ${line#*stopped: }"
done
packets="$(lost)"
((packets > 0)) || fail 'no packet was lost'
echo "${packets} packets were lost"
