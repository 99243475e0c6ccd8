#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A server that may have 20 processes and gets 40 clients counts each client. When processes
# can be created again, it serves a new client at once (R12).

set -uo pipefail
# shellcheck source=testing/machine/server.sh
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"

make_group pids
limit 20 pids.max
for strategy in fork spares pool zygote auto; do
  start_server "$1/server/server" --listen=127.0.0.1:0 --strategy="${strategy}" --workers=40 \
    --max_connections=100
  clients=()
  for ((i = 0; i < 40; ++i)); do
    exec {client}<>"/dev/tcp/127.0.0.1/${server_port}" || fail 'it does not listen'
    clients+=("${client}")
  done
  # The first line about the shortage has this text, with every strategy.
  await_line 'Resource temporarily unavailable'
  (($(<"${group}/pids.current") <= 20)) || fail 'the limit has no effect'
  for client in "${clients[@]}"; do
    exec {client}>&-
  done

  # A client that connects in the pause after a failed fork waits until the pause ends,
  # 150 ms at most.
  started="${EPOCHREALTIME/./}"
  exec {client}<>"/dev/tcp/127.0.0.1/${server_port}"
  served=false
  for ((i = 0; i < 20; ++i)); do
    if echoes "${client}"; then
      served=true
      break
    fi
    exec {client}>&- {client}<>"/dev/tcp/127.0.0.1/${server_port}"
  done
  recovery=$(((${EPOCHREALTIME/./} - started) / 1000))
  ${served} || fail 'it does not recover'
  exec {client}>&-
  stop_server
  echo "${strategy}: served ${recovery} ms after there were processes again; ${line#*stopped: }"
done
