#!/bin/bash
#
# The README's program greets a client, and stops with 0 when told to.

set -euo pipefail

exec {server_stdout}< <(exec "$1" 2>/dev/null)
server=$!
IFS=: read -r -t 10 host port <&"${server_stdout}"

exec {client}<>"/dev/tcp/${host}/${port}"
read -r -t 10 greeting <&"${client}"
exec {client}>&-
[[ ${greeting} == hello ]] || { echo "greeted with '${greeting}'" >&2; exit 1; }

kill -TERM "${server}"
wait "${server}" || { echo "ended with $?" >&2; exit 1; }
