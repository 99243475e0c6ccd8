#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# command_line_test.sh SERVER: what the standalone server refuses, what it prints and logs,
# and its exit codes.
#
# Each claim_... below is a test. No wait is longer than $timeout seconds.
set -uo pipefail

server=$1
timeout=30
scratch=$(mktemp -d "${TEST_TMPDIR:-/tmp}/XXXXXX")
out='' pid='' port='' claim=''
clean_up() {
  [[ -z ${pid} ]] || kill -KILL "${pid}" 2>/dev/null
  rm -rf "${scratch}"
}
trap clean_up EXIT

fail() {
  {
    echo "FAILED: ${claim//_/ }: $*"
    if [[ -s ${scratch}/log ]]; then
      echo "The server's standard error:"
      tail -n 20 "${scratch}/log"
    fi
  } >&2
  exit 1
}

# start FLAG...: starts the server, and reads its $port from its first line. Some shells
# start a process substitution with SIGINT and SIGQUIT ignored.
start() {
  local line
  exec {out}< <(exec env --default-signal=INT,QUIT setsid "${server}" --listen=127.0.0.1:0 "$@" 2>"${scratch}/log")
  pid=$!
  await_port
}

await_port() {
  read -r -t "${timeout}" -u "${out}" line || fail "nothing came on its standard output"
  [[ ${line} =~ ^listening\ 127\.0\.0\.[0-9]+:([0-9]+)$ ]] ||
    fail "its line is not 'listening ADDRESS:PORT' but '${line}'"
  port=${BASH_REMATCH[1]}
}

# await_end CODE: waits for the end of the server, and expects the exit code CODE.
await_end() {
  timeout "${timeout}" tail -s 0.02 -f /dev/null --pid="${pid}" || fail "it did not end"
  wait "${pid}"
  local code=$?
  pid=''
  [[ -z ${out} ]] || exec {out}<&-
  out=''
  ((code == $1)) || fail "its exit code is ${code}, not $1"
}

stop() {
  kill -TERM "${pid}" || fail "it had ended before SIGTERM"
  await_end 0
}

# echo_with PORT [ADDRESS]: connects a client, which must be served.
echo_with() {
  local client reply
  { exec {client}<>"/dev/tcp/${2:-127.0.0.1}/$1"; } 2>/dev/null || return
  echo hello >&"${client}"
  read -r -t "${timeout}" -u "${client}" reply || fail "a client got no reply"
  exec {client}>&-
  [[ ${reply} == hello ]] || fail "a client got '${reply}' for 'hello'"
}

# refused CODE TEXT... -- COMMAND...: COMMAND must end with CODE, print nothing on standard
# output, and one line on standard error, which contains each TEXT.
refused() {
  local code=$1 texts=() text actual
  shift
  while [[ $1 != -- ]]; do
    texts+=("$1")
    shift
  done
  shift
  timeout "${timeout}" "$@" >"${scratch}/out" 2>"${scratch}/log"
  actual=$?
  ((actual == code)) || fail "$*: exit code ${actual}, not ${code}"
  [[ ! -s ${scratch}/out ]] || fail "$*: it printed on its standard output"
  [[ $(wc -l <"${scratch}/log") == 1 ]] || fail "$*: not one line"
  for text in "${texts[@]}"; do
    [[ $(<"${scratch}/log") == *"${text}"* ]] || fail "$*: the line has no '${text}'"
  done
}

# wrong FLAG VALUE WHAT_IS_ALLOWED: the server must refuse --FLAG=VALUE.
wrong() {
  refused 100 "$1" "$2" "$3" -- "${server}" --listen=127.0.0.1:0 "--$1=$2"
}

claim_a_wrong_value_is_refused_with_its_flag_and_what_is_allowed() {
  wrong listen '' 'a port'
  wrong listen 7000 'needs a port, as in 127.0.0.1:7000'
  wrong listen 127.0.0.1:70000 '0 to 65535'
  wrong listen 127.1:7000 'IPv4'
  wrong listen '[::1%lo]:7000' 'zone'
  wrong listen 'example.org:80' 'must be IPv4'
  refused 100 listen nonsense 'needs a port' -- "${server}" --listen=127.0.0.1:0,nonsense
  wrong listen unix:relative 'absolute path'
  wrong listen fd:x 'its number'
  wrong listen fd:-1 'its number'
  wrong unix_mode 600x 'octal'
  wrong unix_mode 1777 '0000 to 0777'
  wrong unix_mode 0o600 'octal'
  wrong unix_mode 8 'octal'
  wrong unix_mode '' 'octal'
  refused 100 idle_timeout unix:/x connection_timeout unix_deadlines -- \
    "${server}" --listen=unix:/x --idle_timeout=5s
  wrong unix_deadlines never 'must be refuse or connection_only'
  wrong backlog -1 '0 to '
  wrong backlog long 'whole number'
  wrong strategy threads 'must be fork'
  wrong max_connections 0 '1 to 1000000'
  wrong max_connections 1000001 '1 to 1000000'
  wrong max_connections 99999999999 'whole number'
  wrong max_connections '' 'whole number'
  wrong max_size 0 '1 to '
  wrong max_size 1k 'whole number'
  wrong drain_grace -1s '0 to '
  wrong drain_grace 10 'such as 10s'
  wrong drain_grace 25h '0 to 24h'
  wrong on_parent_death live 'must be finish or die'
  wrong log_level debug 'info, warning, error or off'
  wrong init perhaps 'true or false'
  wrong huge_text perhaps 'true or false'
}

claim_an_argument_that_is_no_flag_is_refused() {
  refused 100 no_such_flag '--help' -- "${server}" --no_such_flag
  refused 100 no_such_flag '--help' -- "${server}" --no_such_flag=1
  refused 100 '"7000" is not a flag' '--help' -- "${server}" 7000
}

claim_help_lists_our_flags_in_groups_and_no_others() {
  local name help
  help=$(timeout "${timeout}" "${server}" --help 2>"${scratch}/log") || fail "exit code $?"
  [[ ! -s ${scratch}/log ]] || fail "it printed on its standard error"
  for name in listen backlog unix_mode strategy max_connections max_size min_spares max_spares workers \
    max_connections_per_worker init huge_text drain_grace first_byte_timeout idle_timeout \
    connection_timeout peer_timeout on_parent_death log_level; do
    grep -q "^  --${name}=" <<<"${help}" || fail "--${name} is not listed"
  done
  for name in Listening Processes Stopping Logging Signals 'Exit codes'; do
    grep -q "^${name}" <<<"${help}" || fail "there is no group ${name}"
  done
  for name in fromenv tryfromenv undefok tab_completion helpon; do
    ! grep -q -e "--${name}" <<<"${help}" || fail "--${name} is not ours"
  done
}

claim_a_port_in_use_is_refused_by_name() {
  start
  refused 111 "127.0.0.1:${port}" 'Address already in use' -- \
    "${server}" "--listen=127.0.0.1:${port}" --log_level=off
  # If one endpoint is refused, the other one is not served either.
  refused 111 "127.0.0.1:${port}" -- \
    "${server}" "--listen=127.0.0.1:0,127.0.0.1:${port}" --log_level=off
  echo_with "${port}" || fail "the first server was disturbed"
  stop
}

claim_an_address_of_another_machine_is_refused_by_name() {
  refused 111 192.0.2.1:7000 'Cannot assign requested address' -- \
    "${server}" --listen=192.0.2.1:7000 --log_level=off
}

claim_a_privileged_port_is_refused_to_the_unprivileged() {
  local without=()
  if ((EUID == 0)); then
    without=(setpriv --bounding-set=-net_bind_service --inh-caps=-net_bind_service)
    if ! "${without[@]}" true 2>/dev/null; then
      echo "skipped: root can't give up its privilege here"
      return
    fi
  fi
  refused 111 127.0.0.1:1 'Permission denied' -- \
    "${without[@]}" "${server}" --listen=127.0.0.1:1 --log_level=off
}

claim_each_of_several_endpoints_is_announced_in_order_and_served() {
  local ports=() address
  exec {out}< <(exec setsid "${server}" --listen=127.0.0.1:0,127.0.0.2:0,localhost:0 \
    2>"${scratch}/log")
  pid=$!
  for address in 127.0.0.1 127.0.0.2 127.0.0.1; do
    await_port
    [[ ${line} == "listening ${address}:"* ]] || fail "'${line}' has not ${address}"
    ports+=("${port}")
    # The server must serve at once, because it has printed that it listens.
    echo_with "${port}" "${address}" || fail "${address}:${port} does not listen"
  done
  [[ ${ports[0]} != "${ports[2]}" ]] || fail "two endpoints have one port"
  stop
}

claim_the_log_has_the_events_of_a_connection() {
  local lines expected child peer
  start --max_connections=7
  echo_with "${port}" || fail "it does not listen"
  stop
  mapfile -t lines <"${scratch}/log"
  local time="[0-9-]{10}T[0-9:]{8}\.[0-9]{3}Z"
  local us="${time} brood\[[0-9]+\] info:"
  expected=(
    "^${us} listening on 127\.0\.0\.1:${port}$"
    "^${us} forked pid ([0-9]+) to handle (127\.0\.0\.1:[1-9][0-9]*) \(1 of 7\)$"
    "^${us} draining: [01] running, SIGTERM follows in 8\.0 s$"
    "^${us} stopped: accepted 1 = running 0 \+ ended_ok 1 \+ "
  )
  local pattern
  for pattern in "${expected[@]}"; do
    grep -qE "${pattern}" "${scratch}/log" || fail "no line is like ${pattern}"
  done
  [[ $(<"${scratch}/log") =~ forked\ pid\ ([0-9]+)\ to\ handle\ ([0-9.:]+) ]]
  child=${BASH_REMATCH[1]} peer=${BASH_REMATCH[2]}
  grep -qE "^${time} brood\[${child}\] info: serving ${peer}$" "${scratch}/log" ||
    fail "the child does not log that it serves"
  grep -qE "^${us} pid ${child} handling ${peer} exited with code 0 \(served\) after [0-9]+\.[0-9]+ s \(0 of 7\)$" \
    "${scratch}/log" || fail "its end is not logged"
  ((${#lines[@]} == 6)) || fail "there are ${#lines[@]} lines, not six"
}

claim_with_log_level_off_it_is_silent() {
  start --log_level=off
  echo_with "${port}" || fail "it does not listen"
  stop
  [[ ! -s ${scratch}/log ]] || fail "it logs"
}

# serve_started_by COMMAND...: serves a client by a server that COMMAND starts on $port.
serve_started_by() {
  local until=$((SECONDS + timeout))
  start --log_level=off
  stop  # the port is free now, and known
  "$@" &
  pid=$!
  until echo_with "${port}"; do
    ((SECONDS < until)) || fail "it does not serve"
    read -r -t 0.01 <> <(:)  # no event shows that it listens: try every 10 ms
  done
  stop
}

without_any() {
  exec "${server}" "--listen=127.0.0.1:${port}" <&- >&- 2>&-
}
claim_it_serves_without_standard_descriptors() { serve_started_by without_any; }

without_output() {
  exec "${server}" "--listen=127.0.0.1:${port}" 2>"${scratch}/log" >&-
}
claim_it_serves_without_a_standard_output() {
  serve_started_by without_output
  grep -q 'exited with code 0' "${scratch}/log" || fail "it does not log"
}

# A program that starts the server with signals ignored and blocked.
ignoring_and_blocking() {
  exec python3 -c '
import os, signal, sys
for each in (signal.SIGTERM, signal.SIGUSR2, signal.SIGCHLD):
    signal.signal(each, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))
os.execv(sys.argv[1], sys.argv[1:])' "${server}" "--listen=127.0.0.1:${port}" 2>"${scratch}/log"
}
claim_it_serves_and_stops_if_its_signals_were_ignored_and_blocked() {
  serve_started_by ignoring_and_blocking
  grep -q 'exited with code 0' "${scratch}/log" || fail "it does not reap"
}

# O20. The log file may grow to 1024 bytes.
with_short_files() {
  ulimit -f 1
  exec "${server}" "--listen=127.0.0.1:${port}" --log_format=json 2>"${scratch}/log"
}
claim_it_serves_though_its_log_may_not_grow() {
  serve_started_by with_short_files
  (($(stat -c %s "${scratch}/log") == 1024)) || fail "the log is not full"
}

claim_it_serves_though_the_reader_of_its_output_has_gone() {
  start
  exec {out}<&-
  out=''
  echo_with "${port}" || fail "it does not listen"
  stop
}

# Ctrl-C sends SIGINT to each process of the terminal's foreground group.
claim_an_interrupt_from_the_terminal_leaves_no_process_behind() {
  local client reply clients=()
  start --drain_grace=1s
  for _ in {1..10}; do
    exec {client}<>"/dev/tcp/127.0.0.1/${port}"
    echo hello >&"${client}"
    read -r -t "${timeout}" -u "${client}" reply || fail "a client got no reply"
    clients+=("${client}")
  done
  local group=${pid}
  kill -INT -- "-${group}"
  await_end 0
  ! kill -0 -- "-${group}" 2>/dev/null || fail "a process is left in its group"
  for client in "${clients[@]}"; do
    exec {client}>&-
  done
}

claim_each_stop_signal_ends_it_with_0() {
  local signal
  for signal in TERM INT; do
    start
    kill "-${signal}" "${pid}"
    await_end 0
  done
}

# started_by_manager COUNT FDS FLAG...: starts the server as a service manager does that
# listens at COUNT ports, with LISTEN_FDS=FDS.
started_by_manager() {
  exec python3 -c '
import os, socket, sys
listeners = [socket.socket() for _ in range(int(sys.argv[1]))]
for fd, each in enumerate(listeners, 3):
    each.bind(("127.0.0.1", 0))
    each.listen(8)
for fd, each in enumerate([os.dup(each.fileno()) for each in listeners], 3):
    os.dup2(each, fd + 100, inheritable=True)
for fd in range(3, 3 + len(listeners)):
    os.dup2(fd + 100, fd, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=sys.argv[2])
os.execv(sys.argv[3], sys.argv[3:])' "$1" "$2" "${server}" "${@:3}"
}
export -f started_by_manager
export server

claim_listeners_of_the_service_manager_are_served() {
  exec {out}< <(started_by_manager 2 2 2>"${scratch}/log")
  pid=$!
  await_port
  echo_with "${port}" || fail "the first one is not served"
  await_port
  echo_with "${port}" || fail "the second one is not served"
  stop
}

claim_a_listener_that_the_flag_does_not_name_is_closed() {
  exec {out}< <(started_by_manager 2 2 --listen=fd:4 2>"${scratch}/log")
  pid=$!
  await_port
  echo_with "${port}" || fail "it is not served"
  local closed='inherited descriptor 3 is closed: it listens on 127\.0\.0\.1:[0-9]+, which no entry of listen= names'
  grep -qE "warning: ${closed}\$" "${scratch}/log" || fail "it does not log that"
  stop
}

claim_a_wrong_variable_of_the_service_manager_is_refused() {
  refused 100 LISTEN_FDS=3 'descriptor 4 is not open' -- \
    bash -c 'started_by_manager 1 3'
  refused 100 LISTEN_FDS=many 'a number of descriptors' -- \
    bash -c 'started_by_manager 1 many'
  refused 100 LISTEN_PID=me 'number of a process' -- env LISTEN_PID=me "${server}"
  refused 111 'no listening descriptor was inherited' -- "${server}" --listen=inherited
  refused 111 'fd:0 is not a listening stream socket' -- "${server}" --listen=fd:0
  refused 111 NOTIFY_SOCKET=nowhere 'absolute path' -- \
    env NOTIFY_SOCKET=nowhere "${server}" --listen=127.0.0.1:0 --log_level=off
  refused 111 NOTIFY_SOCKET /nowhere/at/all -- \
    env NOTIFY_SOCKET=/nowhere/at/all "${server}" --listen=127.0.0.1:0 --log_level=off
}

claim_a_unix_socket_has_the_mode_of_the_flag() {
  local place line
  place=$(mktemp -d /tmp/brood.XXXXXX)
  exec {out}< <(exec setsid "${server}" "--listen=unix:${place}/s" --unix_mode=0660 --log_level=off \
    2>"${scratch}/log")
  pid=$!
  read -r -t "${timeout}" -u "${out}" line || fail "nothing came on its standard output"
  [[ ${line} == "listening unix:${place}/s" ]] || fail "its line is '${line}'"
  [[ $(stat -c %a "${place}/s") == 660 ]] || fail "the mode is $(stat -c %a "${place}/s")"
  [[ $(nc -N -U "${place}/s" <<<hello) == hello ]] || fail "it does not echo"
  refused 111 'Address already in use' -- \
    "${server}" "--listen=unix:${place}/s" --log_level=off
  stop
  rm -r "${place}"
}

claims=$(declare -F | sed -n 's/^declare -f claim_//p')
for claim in ${claims}; do
  : >"${scratch}/log"
  "claim_${claim}"
  echo "ok: ${claim//_/ }"
done
