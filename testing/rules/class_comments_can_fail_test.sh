#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# class_comments_can_fail_test.sh CHECK: tests that the check of the comments of classes
# finds each error.

set -euo pipefail

check="${PWD}/$1"
cd "${TEST_TMPDIR}"
failed=0

# expect VERDICT WORDS TEXT: the check passes or fails, and prints WORDS, for a header that
# has TEXT below its include guard.
expect() {
  local wanted="$1" words="$2" verdict=fails said
  printf '%b' "${before-}#ifndef X_H_\n#define X_H_\n\n$3\n#endif  // X_H_\n" >x.h
  if said="$("${check}" x.h 2>&1)"; then
    verdict=passes
  fi
  if [[ ${verdict} != "${wanted}" || ${said} != *"${words}"* ]]; then
    echo "line ${BASH_LINENO[0]}: it ${verdict}, and says: ${said}" >&2
    failed=1
  fi
}

twenty="$(printf '// line\\n%.0s' {1..20})"
expect passes '1 classes' '// X is.\nclass X {\n};\n'
expect passes '1 classes' "${twenty}class X final : public Y {\n};\n"
expect passes '0 classes' 'class X;\nstruct Y;\n'
expect passes '1 classes' '// X is.\ntemplate <typename T>\nstruct X {\n};\n'
expect passes '2 classes' '// X is.\nenum class X {\n};\n\n// Y is.\nstruct Y { int z; };\n'
expect fails 'X has no comment' 'class X {\n};\n'
expect fails 'X has no comment' '// X is.\n\nclass X {\n};\n'
expect fails 'X has no comment' 'enum class X {\n};\n'
expect fails 'more than 20' "${twenty}// more\nclass X {\n};\n"
before='// SPDX-License-Identifier: Apache-2.0\n\n'
expect passes '1 classes' '// X is.\nclass X {\n};\n'
before='// SPDX-License-Identifier: Apache-2.0\n\n// X is.\n\n'
expect fails 'a comment of 1 lines stands before' '// X is.\nclass X {\n};\n'
if "${check}" x.cc >/dev/null 2>&1; then
  echo 'it passes without a header' >&2
  failed=1
fi
exit "${failed}"
