#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# source_rules_test.sh FILE...
#
# Checks that no source among these files does what a rule forbids, except for the files
# that the rule names. Tests and comments are ignored.

set -euo pipefail

sources=()
for file in "$@"; do
  [[ ${file} == *_test.cc ]] || sources+=("${file}")
done
for directory in net proc server server/strategy; do
  given="$(printf '%s\n' "${sources[@]}" | grep -c "^${directory}/[^/]*$" || true)"
  if ((given < 12)); then
    echo "only ${given} sources of ${directory} were given" >&2
    exit 1
  fi
done

# Prints FILE:LINE:TEXT, for grep.
lines="$(awk '{ sub("//.*", ""); print FILENAME ":" FNR ":" $0 }' "${sources[@]}")"
failed=0

# rule WHAT REGEX SPECIMEN [FILE...]: REGEX matches SPECIMEN, and no line of a source that
# is not among the FILEs.
rule() {
  local what="$1" regex="$2" specimen="$3" found file
  shift 3
  if ! grep -qP "${regex}" <<<"${specimen}"; then
    echo "${what}: the rule does not see '${specimen}'" >&2
    failed=1
  fi
  found="$(grep -P "${regex}" <<<"${lines}" || true)"
  for file in "$@"; do
    found="$(grep -v "^${file}:" <<<"${found}" || true)"
  done
  if [[ -n ${found} ]]; then
    printf '%s:\n%s\n' "${what}" "${found}" >&2
    failed=1
  fi
}

# A jump of the clock must neither end a connection nor keep it alive.
rule 'the time of day is not for decisions' \
  '\b((std::)?time|gettimeofday|(local|gm)time(_r)?)\s*\(|CLOCK_REALTIME|system_clock|high_resolution_clock|absl::Now\b' \
  '  const time_t now = time(nullptr);' \
  server/log/wall_clock.cc # for the reader of a line
rule 'no code sleeps' \
  '\b(u?sleep|(clock_)?nanosleep|sleep_for|sleep_until|SleepFor)\s*\(' \
  '  usleep(1000);' \
  server/strategy/zygote/zygote_process.cc net/unix_listener.cc `# with nothing else to do` \
  server/supervisor/supervisor.cc # when its poll fails
rule 'two handlers of signals: one does nothing, one notes a request' \
  '\b(sigaction|sigset|(bsd_)?signal)\s*\(\s*[^)\s]' \
  '  signal(SIGCHLD, OnDeath);' \
  proc/reaping/exit_signal.cc proc/process_state.cc server/control/request_signals.cc \
  proc/program.cc server/command_line/main.cc server/process/inheritance.cc \
  server/prepare_process.cc server/exec_handler.cc # reset what is ignored
# An embedder has no flags; NameFlags() translates for the program.
rule 'a library names the fields of Options, and no flag' \
  '"[^"]*(--[a-z]|\b(upgrade_(command|timeout)|(first_byte|idle|connection|peer)_timeout|m(in|ax)_spares|connections_per_worker)|\{\}_timeout)' \
  '  log_->UpgradeIgnored("upgrade_command is not set");' \
  server/command_line/main.cc server/command_line/flags.cc server/command_line/flag_reader.cc \
  server/command_line/help.cc server/command_line/handler_from_flags.cc
rule 'one file waits for children' \
  '\b(wait|waitid|waitpid|wait3|wait4)\s*\(' \
  '  while (waitpid(-1, &status, WNOHANG) > 0) {' \
  proc/reaping/wait_for_end.cc proc/process_state.cc `# the last one only looks`
rule 'a library does not end the program' \
  '(^|[^_.>])\b(std::)?(exit|quick_exit)\s*\(' \
  '    std::exit(1);' \
  server/command_line/main.cc
# If two listeners share a port, closing one resets the clients in its queue.
rule 'no code relies on SO_REUSEPORT, or on tcp_migrate_req' \
  'SO_REUSEPORT|tcp_migrate_req' \
  '  setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));'

exit "${failed}"
