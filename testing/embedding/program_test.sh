#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# program_test.sh QUESTION ANSWER PROGRAM ARGUMENTS...
#
# The program says where it listens, gives one client the answer (a pattern) to its
# question (which may be none), and ends with 0 when it is told to stop.

set -euo pipefail

question="$1"
answer="$2"
shift 2

exec {server_stdout}< <(exec "$@")
server=$!
read -r -t 10 line <&"${server_stdout}"
address="${line##* }"

exec {client}<>"/dev/tcp/${address%:*}/${address##*:}"
if [[ -n ${question} ]]; then
  echo "${question}" >&"${client}"
fi
read -r -t 10 got <&"${client}"
exec {client}>&-
# shellcheck disable=SC2053  # a pattern it is
[[ ${got} == ${answer} ]] || { echo "answered '${got}'" >&2; exit 1; }

kill -TERM "${server}"
wait "${server}" || { echo "ended with $?" >&2; exit 1; }
