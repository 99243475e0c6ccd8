#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# links_can_fail_test.sh CHECK: tests that the check of the links finds each error.

set -euo pipefail

check="${PWD}/$1"
cd "${TEST_TMPDIR}"
mkdir -p docs
# shellcheck disable=SC2016  # the backticks are of the pages
printf '# Top\n\n## A `b` c, and d: e_f\n' >top.md
: >docs/x.h
failed=0

# expect VERDICT WORDS TEXT: the check passes or fails, and prints WORDS, for a page
# docs/page.md with this TEXT.
expect() {
  local wanted="$1" words="$2" verdict=fails said
  printf '%b' "$3" >docs/page.md
  if said="$("${check}" top.md docs/x.h docs/page.md 2>&1)"; then
    verdict=passes
  fi
  if [[ ${verdict} != "${wanted}" || ${said} != *"${words}"* ]]; then
    echo "line ${BASH_LINENO[0]}: it ${verdict}, and says: ${said}" >&2
    failed=1
  fi
}

expect passes '3 links' '[a](../top.md) and [b](x.h),\n[c](https://example.org)\n[d](../docs)\n'
expect fails 'docs/page.md:2: there is no docs/y.h' '\n[a](y.h)\n'
expect fails 'there is no x.h' '[a](../x.h)\n'
expect passes '1 links' '[a](../top.md#a-b-c-and-d-e_f)\n'
expect fails 'top.md has no heading #a-b' '[a](../top.md#a-b)\n'
expect passes '1 links' '## Here\n[a](#here)\n'
expect fails 'no heading #there' '## Here\n[a](#there)\n'
expect fails '2 links' '[a](x.h) [b](z.h)\n'
# shellcheck disable=SC2016
expect fails '0 links' '```\n[a](z.h)\n```\n'
exit "${failed}"
