#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# readme_test.sh README
#
# Checks that each block of code in the README after a line
#
#   <!-- testing/embedding/FILE -->
#
# is a part of that file; and if that is a source, the block is all of it except the
# licence.

set -euo pipefail

checked=()
file=
block=
while IFS= read -r line; do
  if [[ ${line} =~ ^'<!-- testing/embedding/'([^ ]+)' -->'$ ]]; then
    file="${BASH_REMATCH[1]}"
  elif [[ -z ${file} ]]; then
    continue
  elif [[ ${line} == '```' ]]; then
    content="$(<"${file}")"$'\n'
    content=$'\n'"${content#$'// SPDX-License-Identifier: Apache-2.0\n\n'}"
    if [[ ${content} != *$'\n'"${block}"* || (${file} == *.cc && ${content} != $'\n'"${block}") ]]; then
      echo "the README shows another text than ${file}" >&2
      exit 1
    fi
    checked+=("${file}")
    file=
    block=
  elif [[ ${line} != '```'* ]]; then
    block+="${line}"$'\n'
  fi
done <"$1"

echo "checked ${checked[*]}"
((${#checked[@]} == 4)) || { echo "the README does not show four files" >&2; exit 1; }
