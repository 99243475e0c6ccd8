# SPDX-License-Identifier: Apache-2.0
#
# shellcheck shell=bash
# server.sh: a server on this machine, for the scripts beside it. To be sourced.
#
#   skip TEXT                 ends with 69, because of what this machine lacks
#   fail TEXT                 ends with 1, and shows what the server logged
#   at_exit COMMAND...        is run at the end, the last one first
#   make_group CONTROLLER     a control group: its folder in $group
#   make_link                 two network namespaces, $ours and $theirs, and a link of
#                             brood0 in the one to brood1 in the other, which is down
#   start_server COMMAND...   waits until it listens: $server_pid, $server_port
#   await_line TEXT           the next line of its log that has TEXT, in $line
#   echoes FD                 what is written there comes back
#   stop_server               SIGTERM; exit code 0, and the account is balanced
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
      skip "there is no controller of $1 to be had"
  fi
  group="${root}/brood_test_$$"
  mkdir "${group}" || skip "there is no control group to be made in ${root}"
  at_exit "rmdir '${group}'"
}

# limit VALUE FILE...: the first of these files that this kind of group has.
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
  ip netns add "${ours}" 2>/dev/null || skip 'there is no network namespace to be had'
  at_exit "ip netns del ${ours}"
  ip netns add "${theirs}" || skip 'there is no second network namespace to be had'
  at_exit "ip netns del ${theirs}"
  ip -n "${ours}" link add brood0 type veth peer name brood1 netns "${theirs}" ||
    skip 'there is no pair of interfaces to be had'
  ip -n "${ours}" address add "${our_address}/30" dev brood0
  ip -n "${theirs}" address add 192.0.2.2/30 dev brood1
  ip -n "${ours}" link set brood0 up
}

# In $group, if there is one.
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
  kill -TERM "${server_pid}" || fail 'it is not there to be stopped'
  await_line ' stopped'
  [[ ${line} != *UNBALANCED* && ${line} == *'= running 0 '* ]] || fail "its account: ${line}"
  wait "${server_pid}"
  code=$?
  ((code == 0)) || fail "its exit code is ${code}"
  exec {server_log}<&-
}
