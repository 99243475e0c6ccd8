#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# language_can_fail_test.sh CHECK BANNED_WORDS: tests that the check of the language finds
# each kind of error, with its own glossary.

set -euo pipefail

check="${PWD}/$1"
export BANNED_WORDS="${PWD}/$2"
cd "${TEST_TMPDIR}"
failed=0

cat >glossary.md <<'END'
# Glossary

| use | for | not |
|---|---|---|
| supervisor | the loop | overlord, (boss) |
| `Table` | pids | great book |
| client | | |

The user of the system with that name is allowed: `user overlord`, `kOverlord`.

Text with overlord | in it | is no row | overlord |
END
mkdir -p kBad some

# expect VERDICT WORDS TEXT [FILE]: the check passes or fails for TEXT, and prints WORDS.
expect() {
  local wanted="$1" words="$2" verdict=fails said file="${4-some/file.cc}"
  printf '%b' "$3" >"${file}"
  if said="$("${check}" glossary.md "${file}" 2>&1)"; then
    verdict=passes
  fi
  if [[ ${verdict} != "${wanted}" || ${said} != *"${words}"* ]]; then
    echo "line ${BASH_LINENO[0]}: it ${verdict}, and says: ${said}" >&2
    failed=1
  fi
}

expect passes '1 files were read' 'A supervisor.\n'
expect passes '1 files were read' 'A boss, overlords, an overlordship.\n'
expect passes '1 files were read' 'a great deal of books, a greatbook\n'
expect passes '1 files were read' 'overlordx xoverlord\n'
expect fails 'some/file.cc:2: "overlord"' 'Fine.\n// The overlord.\n'
expect fails '"overlord"' 'OVERLORD'
expect fails '"overlord"' 'int sOverlordTag;\n'
expect fails '"overlord"' 'int overlord_tag_;\n'
expect fails '"overlord"' 'TEST(OverlordTest, X) {\n'
expect fails '"overlord"' "the overlord's\n"
expect fails '"great book"' 'a great book\n'
expect fails '"great book"' 'class GreatBook;\n'
expect fails '"great book"' '#include "great_book.h"\n'
expect fails 'some/file.cc:2: "great book"' '// This is a great\n// book, is it not?\n'
expect fails 'some/overlord.cc:0: "overlord"' 'int x;\n' some/overlord.cc
# Phrases that the glossary allows.
expect passes '1 files' 'the user overlord, as in kOverlord and kOverlord\n'
expect fails '"overlord"' 'the user overlord and an overlord\n'
expect fails '"overlord"' 'mOverlord\n'
# The glossary itself has the terms.
expect passes '0 files' "$(<glossary.md)" glossary.md
if "${check}" glossary.md >/dev/null 2>&1; then
  echo 'it passes without a file' >&2
  failed=1
fi
if "${check}" /dev/null some/file.cc >/dev/null 2>&1; then
  echo 'it passes with a glossary that bans nothing' >&2
  failed=1
fi
exit "${failed}"
