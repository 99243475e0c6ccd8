#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# licence.sh FILE...
#
# Each of the FILEs that is a source, a script or a BUILD file names its licence in the
# first line, or in the second one of a script: Apache-2.0, in the form of SPDX.

set -euo pipefail

readonly line='SPDX-License-Identifier: Apache-2.0'
checked=0 failed=0
for file in "${@#./}"; do
  first='' second=''
  {
    read -r first || true
    read -r second || true
  } <"${file}" 2>/dev/null
  named=0
  case "${file}" in
    *.cc | *.h | *.java) [[ ${first} != "// ${line}" ]] || named=1 ;;
    *.sh | *.bzl | *.py | *.pl | *.awk | BUILD | */BUILD | WORKSPACE | *.bazel)
      [[ ${first} != "# ${line}" && (${first} != '#!'* || ${second} != "# ${line}") ]] || named=1
      ;;
    *)
      [[ ${first} == '#!'* ]] || continue
      [[ ${second} != "# ${line}" ]] || named=1
      ;;
  esac
  checked=$((checked + 1))
  if ! ((named)); then
    echo "${file} does not begin with: ${line}" >&2
    failed=1
  fi
done
((checked > 0)) || { echo 'no source was given' >&2; exit 1; }
echo "${checked} sources were read"
exit "${failed}"
