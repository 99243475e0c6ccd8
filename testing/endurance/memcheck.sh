#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# testing/endurance/memcheck.sh
#
# Runs the server program under valgrind, in each strategy: every generation, its children
# and zygotes. In storms and upgrades under load, valgrind looks for wrong accesses; in
# storms, for leaks of the parents. (Not for leaks of children: a child ends by _exit() on a
# stack of its own, so valgrind does not find what the parent's stack refers to.) Prints
# the reports, if there are any, and how many processes were watched. Takes eight minutes,
# and needs valgrind.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

if ! command -v valgrind >/dev/null; then
  echo "testing/endurance/memcheck.sh: there is no valgrind" >&2
  exit 69
fi

logs="$(mktemp -d "${TMPDIR:-/var/tmp}/brood-memcheck.XXXXXX")"
trap 'rm -rf "${logs}"' EXIT

# watch NAME OPTIONS BAZEL_ARGUMENT...: runs tests with their server under valgrind. Not
# the static program, because valgrind does not see its allocator. Without a sandbox, so
# that each process has another pid, by which its reports are named.
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
  # (A message about valgrind's own log file is no report.)
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
  --test_filter='*StormTest.*:*LosesNoClientDuringUpgrades*'
watch leaks '--leak-check=full --show-leak-kinds=definite --child-silent-after-fork=yes' //testing/endurance:storm_test
