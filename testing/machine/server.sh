# SPDX-License-Identifier: Apache-2.0
#
# shellcheck shell=bash
# server.sh: a server on this machine, for the scripts beside it. To be sourced.
#
#   skip TEXT                 ends with 69, because of what this machine lacks
#   fail TEXT                 ends with 1, and shows what the server logged
#   at_exit COMMAND...        runs COMMAND at the end, the last one first
#   make_group CONTROLLER     makes a control group, whose folder is $group
#   make_link                 makes two network namespaces, $ours and $theirs, and a link
#                             from brood0 in $ours to brood1 in $theirs, which is down
#   start_server COMMAND...   starts a server and waits until it listens: $server_pid,
#                             $server_port
#   await_line TEXT           waits for the next line of its log with TEXT: $line
#   echoes FD                 returns whether the server echoes what is sent to FD
#   stop_server               sends SIGTERM; expects exit code 0 and balanced totals
#
# No wait is longer than $wait_limit seconds.

wait_limit=10
log='' line='' server_pid='' server_port='' server_log='' group=''
# shellcheck disable=SC2034  # for the scripts
ours="brood_server_$$" theirs="brood_client_$$" our_address=192.0.2.1
endings=()
trap 'for ((i = ${#endings[@]} - 1; i >= 0; --i)); do eval "${endings[i]}"; done' EXIT

at_exit() { endings+=("$*"); }

skip() {
  echo "${0##*/} can't be run here: $1"
  exit 69
}

fail() {
  echo "FAILED: ${0##*/}: $1" >&2
  tail -n 30 <<<"${log}" >&2
  exit 1
}

make_group() {
  local root=/sys/fs/cgroup/$1
  ((EUID == 0)) || skip 'only root makes control groups'
  if [[ ! -d ${root} ]]; then
    root=/sys/fs/cgroup
    grep -qsw "$1" "${root}/cgroup.subtree_control" ||
      skip "no controller $1 is available"
  fi
  group="${root}/brood_test_$$"
  mkdir "${group}" || skip "no control group can be made in ${root}"
  at_exit "rmdir '${group}'"
}

# limit VALUE FILE...: writes VALUE to the first of these files that the group has.
limit() {
  local file
  for file in "${@:2}"; do
    [[ ! -w ${group}/${file} ]] || { echo "$1" >"${group}/${file}" && return; }
  done
  skip "no such limit: ${*:2}"
}

make_link() {
  ((EUID == 0)) || skip 'only root makes network namespaces'
  command -v ip >/dev/null || skip 'there is no ip (iproute2)'
  ip netns add "${ours}" 2>/dev/null || skip 'no network namespace can be made'
  at_exit "ip netns del ${ours}"
  ip netns add "${theirs}" || skip 'no second network namespace can be made'
  at_exit "ip netns del ${theirs}"
  ip -n "${ours}" link add brood0 type veth peer name brood1 netns "${theirs}" ||
    skip 'no pair of interfaces can be made'
  ip -n "${ours}" address add "${our_address}/30" dev brood0
  ip -n "${theirs}" address add 192.0.2.2/30 dev brood1
  ip -n "${ours}" link set brood0 up
}

# Runs the server in $group, if there is one.
start_server() {
  log=''
  exec {server_log}< <(
    [[ -z ${group} ]] || echo "${BASHPID}" >"${group}/cgroup.procs"
    exec "$@" 2>&1
  )
  server_pid=$!
  at_exit "kill -KILL ${server_pid} 2>/dev/null; wait ${server_pid} 2>/dev/null"
  await_line ' listening on '
  # shellcheck disable=SC2034  # for the scripts
  server_port="${line##*:}"
}

await_line() {
  while read -r -t "${wait_limit}" -u "${server_log}" line; do
    log+="${line}"$'\n'
    [[ ${line} != *"$1"* ]] || return 0
  done
  fail "no line of the log has '$1'"
}

echoes() {
  local reply=''
  { echo hello >&"$1" && read -r -t "${wait_limit}" -u "$1" reply; } 2>/dev/null
  [[ ${reply} == hello ]]
}

stop_server() {
  local code
  kill -TERM "${server_pid}" || fail 'it had ended before SIGTERM'
  await_line ' stopped'
  [[ ${line} != *UNBALANCED* && ${line} == *'= running 0 '* ]] || fail "its totals: ${line}"
  wait "${server_pid}"
  code=$?
  ((code == 0)) || fail "its exit code is ${code}"
  exec {server_log}<&-
}
