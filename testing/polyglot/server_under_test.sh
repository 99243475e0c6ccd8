# SPDX-License-Identifier: Apache-2.0
#
# shellcheck shell=bash
# server_under_test.sh: one real server for a shell test, from its first line to
# the census after its end. To be sourced.
#
#   start_server SERVER FLAG...   starts a server on a free port, and waits until it listens
#   await_no_children             waits until every child is reaped
#   stop_server                   sends SIGTERM; expects exit code 0, that no process is left,
#                                 and that each connection has one outcome
#   processes_of parent|session   prints "PID STATE" of its children, or of all descendants
#   fail TEXT                     ends the test, and shows what the server logged
#
# A test has one server at a time: $server_pid, at $server_port. The files in the
# folder $scratch and the server are removed when the test ends. No wait is longer
# than $wait_limit seconds.
#
# The server leads a session of its own, so every process of that session descends
# from it, even if its parent has ended.

wait_limit=30
scratch=$(mktemp -d "${TEST_TMPDIR:-/tmp}/XXXXXX")
export TMPDIR=$scratch
server_name='' server_pid='' server_port='' server_output=''
trap clean_up EXIT

start_server() {
  local program=$1 line
  shift
  server_name="${program##*/} $*"
  exec {server_output}< <(
    exec setsid "$program" --listen=127.0.0.1:0 --log_level=warning "$@" 2>"$scratch/log"
  )
  server_pid=$!
  read -r -t "$wait_limit" -u "$server_output" line || fail "nothing came on its standard output"
  [[ $line =~ ^listening\ 127\.0\.0\.1:([0-9]+)$ ]] ||
    fail "its first line is not 'listening 127.0.0.1:PORT' but '$line'"
  # shellcheck disable=SC2034  # for the test
  server_port=${BASH_REMATCH[1]}
}

# Only the parent is notified that a child was reaped, so this is the one wait
# without an event: it looks again every hundredth of a second.
await_no_children() {
  local until=$((SECONDS + wait_limit)) children
  while children=$(processes_of parent) && [[ -n $children ]]; do
    ((SECONDS < until)) ||
      fail "its clients have closed, but these children are left (Z is a zombie): ${children//$'\n'/, }"
    read -r -t 0.01 -u "$server_output"
  done
}

# Waits for the end of the server's standard output: then no process has it open.
stop_server() {
  local exit_code left
  kill -TERM "$server_pid" || fail "it had ended before SIGTERM"
  timeout "$wait_limit" cat <&"$server_output" >/dev/null ||
    fail "it has not ended, $wait_limit s after SIGTERM"
  wait "$server_pid"
  exit_code=$?
  left=$(processes_of session)
  exec {server_output}<&-
  server_pid=''
  ((exit_code == 0)) || fail "its exit code after SIGTERM is $exit_code, not 0"
  ! grep -q UNBALANCED "$scratch/log" || fail "a connection had no outcome, or two"
  [[ -z $left ]] || fail "it has ended and left these behind (Z is a zombie): ${left//$'\n'/, }"
}

processes_of() {
  local column stat line fields
  case $1 in
    parent) column=1 ;;
    session) column=3 ;;
  esac
  for stat in /proc/[0-9]*/stat; do
    { read -r line <"$stat"; } 2>/dev/null || continue  # it ended as we looked
    read -ra fields <<<"${line##*) }"  # what follows PID (NAME): STATE PARENT GROUP SESSION ...
    [[ ${fields[column]} != "$server_pid" ]] || echo "${line%% *} ${fields[0]}"
  done
}

fail() {
  echo "FAILED: ${server_name:+$server_name: }$1" >&2
  if [[ -s $scratch/log ]]; then
    echo "The last lines of the server's log:" >&2
    tail -n 20 "$scratch/log" >&2
  fi
  exit 1
}

clean_up() {
  [[ -z $server_pid ]] || kill -KILL "$server_pid"
  rm -rf "$scratch"
}
