#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# readme_test.sh README TOP_README
#
# Each block of code in the README that comes after a line
#
#   <!-- recipes/FILE -->
#
# stands in that file of this folder as it is; a source is shown whole, but for its
# licence. Every source here is shown. In the README at the top of the tree, a block after
#
#   <!-- part of testing/recipes/FILE -->
#
# is a part of that file.

set -euo pipefail

cd "${BASH_SOURCE[0]%/*}"
readonly licence=$'// SPDX-License-Identifier: Apache-2.0\n\n'
failed=0 shown=' '
complain() {
  echo "$*" >&2
  failed=1
}

file=
block=
while IFS= read -r line; do
  if [[ ${line} =~ ^'<!-- recipes/'([^ ]+)' -->'$ ]]; then
    file="${BASH_REMATCH[1]}"
  elif [[ -z ${file} ]]; then
    continue
  elif [[ ${line} == '```' ]]; then
    content="$(<"${file}")"$'\n'
    case "${file}" in
      *.cc | *.h) [[ ${content} == "${licence}${block}" ]] ;;
      *) [[ $'\n'"${content}" == *$'\n'"${block}"* ]] ;;
    esac || complain "the README shows a ${file} that is not the one here"
    shown+="${file} "
    file=
    block=
  elif [[ ${line} != '```'* ]]; then
    block+="${line}"$'\n'
  fi
done <"${OLDPWD}/$1"

file='' block='' parts=0
while IFS= read -r line; do
  if [[ ${line} =~ ^'<!-- part of testing/recipes/'([^ ]+)' -->'$ ]]; then
    file="${BASH_REMATCH[1]}"
  elif [[ -z ${file} ]]; then
    continue
  elif [[ ${line} == '```' ]]; then
    [[ -n ${block} && $'\n'"$(<"${file}")"$'\n' == *$'\n'"${block}"* ]] ||
      complain "the README at the top shows no part of ${file}"
    parts=$((parts + 1))
    file=
    block=
  elif [[ ${line} != '```'* ]]; then
    block+="${line}"$'\n'
  fi
done <"${OLDPWD}/$2"
((parts > 0)) || complain 'the README at the top shows no part of a recipe'

for file in *.h *_test.cc; do
  [[ ${shown} == *" ${file} "* ]] || complain "${file} is not shown"
done
echo "checked${shown}"
[[ ${shown} == *' BUILD '* ]] || complain 'the README shows nothing of BUILD'
exit "${failed}"
