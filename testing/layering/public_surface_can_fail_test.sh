#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# public_surface_can_fail_test.sh CHECK HEADERS MORE_HEADERS FILE...: tests that the check
# of the public surface finds a private header, and one header too many.

set -euo pipefail

check="$1" headers="$2" more="$3"
shift 3
failed=0

# expect VERDICT WORDS ARGUMENTS...: the check passes or fails, and prints WORDS.
expect() {
  local wanted="$1" words="$2" verdict=fails said
  shift 2
  if said="$("${check}" "$@" 2>&1)"; then
    verdict=passes
  fi
  if [[ ${verdict} != "${wanted}" || ${said} != *"${words}"* ]]; then
    echo "line ${BASH_LINENO[0]}: it ${verdict}, and says: ${said}" >&2
    failed=1
  fi
}

first=server/tcp_server.h
expect passes "  ${first}" "${headers}" "${first}" 14 "$@"
expect fails "${first} has more than 1 headers behind it" "${headers}" "${first}" 1 "$@"
expect fails 'server/supervisor/supervisor.h is private' "${more}" "${first}" 14 "$@"
expect fails "${first} is private" "${headers}" "${first}" 14 net/BUILD
grep -v 'totals\.h$' "${headers}" >"${TEST_TMPDIR}/fewer"
expect fails 'server/totals.h is behind' "${TEST_TMPDIR}/fewer" "${first}" 14 "$@"
exit "${failed}"
