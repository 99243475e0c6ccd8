#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# readme_test.sh README
#
# Each block of code in the README that comes after a line
#
#   <!-- testing/embedding/FILE -->
#
# stands in that file as it is; and if that is a source, the block is all of it but its
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
      echo "the README shows a ${file} that is not the one here" >&2
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
