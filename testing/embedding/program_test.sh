#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# program_test.sh QUESTION ANSWER PROGRAM ARGUMENTS...
#
# Checks that the program prints where it listens, sends one client the ANSWER (a pattern)
# to its QUESTION (which may be empty), and exits with 0 after SIGTERM.

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
