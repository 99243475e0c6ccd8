#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# testing/endurance/memcheck.sh
#
# The server's program under valgrind, in each strategy: every generation, its children,
# its zygotes. Through storms and upgrades under load for what touches memory that it
# must not; and through storms for what the parents lose. (A child ends by _exit() on a
# stack of its own, and what its parent's stack holds is then lost to valgrind's eye.)
# Prints the reports, if there are any, and how many processes were watched. Takes eight
# minutes, and needs valgrind.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! command -v valgrind >/dev/null; then
  echo "testing/endurance/memcheck.sh: there is no valgrind" >&2
  exit 69
fi

logs="$(mktemp -d "${TMPDIR:-/var/tmp}/brood-memcheck.XXXXXX")"
trap 'rm -rf "${logs}"' EXIT

# watch NAME OPTIONS BAZEL'S...: tests, with their server under valgrind. A program that
# is linked statically has an allocator that valgrind can't see; and without a sandbox
# each process has a number of its own, after which its reports are named.
watch() {
  local name="$1" reports watched verdict=0
  local valgrind=(
    valgrind --quiet --vgdb=no --trace-children=yes "--suppressions=${PWD}/testing/endurance/memcheck.supp"
    "--log-file=${logs}/${name}/%p" "$2"
  )
  mkdir "${logs}/${name}"
  tools/bazel test --define=sanitized=true --nocache_test_results --noshow_progress --keep_going \
    --strategy=TestRunner=local --test_timeout=900 --local_test_jobs=HOST_CPUS \
    --test_env=UPGRADES=10 --test_env=STORM_SECONDS=20 \
    --test_env=SERVER_UNDER="${valgrind[*]}" "${@:3}" || verdict=1
  watched="$(find "${logs}/${name}" -type f | wc -l)"
  # (What valgrind says of its own file is no report: it then says the rest on the log.)
  reports="$(find "${logs}/${name}" -type f -size +0 \
    -exec grep -v 'Valgrind: failed to move log file' /dev/null {} +)" || true
  if [[ -n ${reports} || ${watched} == 0 ]]; then
    echo "${reports}"
    echo "memcheck: ${name}: there are reports, or no process was watched (${watched})" >&2
    return 1
  fi
  echo "memcheck: ${name}: ${watched} processes, 0 reports"
  return "${verdict}"
}

watch errors '--leak-check=no --error-exitcode=99' //testing/endurance:storm_test //testing/upgrades:upgrade_test \
  --test_filter='*StormTest.*:*NobodyIsLostWhileProgramsAreExchanged*'
watch leaks '--leak-check=full --show-leak-kinds=definite --child-silent-after-fork=yes' //testing/endurance:storm_test
