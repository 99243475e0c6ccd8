#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# When a child uses all memory, the kernel kills that child, 20 times of 20, and neither
# the server nor a sibling (R36).
#
# When it fills a file in memory instead, the kernel does not know whose memory that is. It
# kills children, which have a higher oom_score_adj, until the file is gone: perhaps
# siblings, but not the server, 20 times of 20 (A6).

set -uo pipefail
# shellcheck source=testing/machine/server.sh
source "$(dirname "${BASH_SOURCE[0]}")/server.sh"

# Prints how many processes of $group the kernel has killed because memory ran out.
killed() {
  cat "${group}"/memory.events "${group}"/memory.oom_control 2>/dev/null | sed -n 's/^oom_kill //p'
}

make_group memory
limit $((64 << 20)) memory.max memory.limit_in_bytes
for strategy in fork spares pool zygote auto; do
  before="$(killed)"
  start_server "$1/testing/machine/hungry_server" "${strategy}"
  exec {sibling}<>"/dev/tcp/127.0.0.1/${server_port}" || fail 'it does not listen'
  for ((i = 0; i < 20; ++i)); do
    exec {hungry}<>"/dev/tcp/127.0.0.1/${server_port}" || fail 'it does not listen'
    printf m >&"${hungry}"
    await_line 'killed by SIGKILL'
    exec {hungry}>&-
    echoes "${sibling}" || fail "a sibling did not survive (round $((i + 1)))"
  done
  exec {sibling}>&-
  stop_server
  after="$(killed)"
  ((after - before == 20)) || fail "the kernel has killed $((after - before)), not 20"
  [[ ${line} == *'crashed 20 '* ]] || fail "its totals: ${line}"
  echo "${strategy}: 20 of 20 killed, the server and a sibling none; ${line#*stopped: }"
done

for strategy in fork spares pool zygote auto; do
  start_server "$1/testing/machine/hungry_server" "${strategy}"
  for ((i = 0; i < 20; ++i)); do
    exec {hungry}<>"/dev/tcp/127.0.0.1/${server_port}" || fail 'it does not listen'
    printf f >&"${hungry}"
    # The end of the connection is that of the child.
    read -r -t "${wait_limit}" -u "${hungry}"
    (($? == 1)) || fail "the child that fills a file goes on (round $((i + 1)))"
    exec {hungry}>&-
    exec {next}<>"/dev/tcp/127.0.0.1/${server_port}" || fail 'it does not listen'
    echoes "${next}" || fail "the next client is not served (round $((i + 1)))"
    exec {next}>&-
  done
  stop_server
  echo "${strategy}: a file in memory, 20 times, and the server served each next client"
done
