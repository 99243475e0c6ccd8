#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# decisions_test.sh INDEX_SCRIPT FILE...
#
# Checks that each decision in the FILEs of docs/decisions has the form that the README
# there describes, and is in the list of that README; and that INDEX_SCRIPT finds errors.

set -euo pipefail

script="$1"
shift
readonly readme=docs/decisions/README.md
pages=() failed=0
for file in "${@#./}"; do
  [[ ${file} != docs/decisions/*.md || ${file} == "${readme}" ]] || pages+=("${file}")
done
((${#pages[@]} >= 16)) || { echo "only ${#pages[@]} pages were given" >&2; exit 1; }

if ! awk -f "${script}" "${readme}" "${pages[@]}" | diff "${readme}" - >&2; then
  echo "${readme} or a page is not in form; tools/docs --fix writes the list" >&2
  failed=1
fi

# refused WORDS PAGE: the script fails for this page, and prints WORDS.
refused() {
  local said
  printf '%b' "$2" >"${TEST_TMPDIR}/page.md"
  printf '# Decisions\n\n## [A](page.md)\n\n- One\n' >"${TEST_TMPDIR}/README.md"
  if said="$(awk -f "${script}" "${TEST_TMPDIR}/README.md" "${TEST_TMPDIR}/page.md" 2>&1)"; then
    said="passes: ${said}"
  fi
  if [[ ${said} != *"$1"* ]]; then
    echo "the script for a page with '$2': ${said}" >&2
    failed=1
  fi
}
# accepted PAGE: the script passes for this page.
accepted() {
  refused 'passes: ' "$1"
}
readonly good='# Decisions: a topic\n\n## One\n\n*2026-11-22*\n\n**Decision.** It is so.\n'
refused $'passes: # Decisions\n\n## [A](page.md)\n\n- One' "${good}"
refused 'has no date' "${good/'*2026-11-22*'/}"
refused 'has neither' "${good/'**Decision.**'/'**Context.**'}"
accepted "${good/'**Decision.** It is so.'/'**Decision. It is so.**'}"
accepted "${good/'**Decision.**'/'**Measurement.**'}"
accepted "${good}\n## The cost\n\n*2026-11-22*\n\n| a | b |\n"
accepted '# Decisions: a topic\n\n*2026-11-22*\n\n**Decision.** It is so.\n'
refused 'has neither' "${good}\n## Two\n\n*2026-11-22*\n"
refused 'first line' "${good/'# Decisions: a'/'# A'}"
refused 'it has no decision' '# Decisions: a topic\n'
exit "${failed}"
