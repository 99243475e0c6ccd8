#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The client in one language replays the whole contract against the real server, once for
# each `server` line of the contract.
#
#     replay_test.sh SERVER LANGUAGE [PROGRAM]
#
# With PROGRAM the server executes it for each connection. Lines with a pool are left out
# then, because a pool cannot execute programs.
#
# After one replay: every conversation went as written (the client prints how many there
# were, and the test compares this with the contract), the server has reaped all its
# children, SIGTERM ended it with exit code 0, and no process is left.

set -o nounset -o pipefail
# shellcheck source=server_under_test.sh
source "$(dirname "$0")/server_under_test.sh"
# shellcheck source=languages.sh
source "$(dirname "$0")/languages.sh"

server=$1
language=$2
program=("${@:3}")
contract=$(dirname "$0")/contract.txt

all="$(grep -c '^conversation ' "$contract") conversations, $(grep -c '^  ' "$contract") steps"
mapfile -t configurations < <(sed -n 's/^server //p' "$contract")
if ((${#program[@]} > 0)); then
  mapfile -t configurations < <(printf '%s\n' "${configurations[@]}" | grep -v pool)
  program=(-- "${program[@]}")
fi
((${#configurations[@]} > 0)) || fail "no line of the contract says how to start the server"
[[ $all != *' 0 '* && $all != '0 '* ]] || fail "the contract says nothing: $all"

require "$language"
for configuration in "${configurations[@]}"; do
  read -ra flags <<<"$configuration"
  start_server "$server" "${flags[@]}" "${program[@]}"
  held=$(run_client "$language" "$server_port" "$contract" 20) ||
    fail "it broke the contract with the client in $language"
  [[ $held == "$all" ]] || fail "the contract has $all; the client in $language held $held"
  await_no_children
  stop_server
  echo "$language, server $configuration ${program[*]}: $held"
done
