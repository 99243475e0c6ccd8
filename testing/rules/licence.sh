#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# licence.sh NOT_YET FILE...
#
# Each of the FILEs that is a source, a script or a BUILD file names its licence in the
# first line, or in the second one of a script: Apache-2.0, in the form of SPDX. NOT_YET
# lists those that do not yet, one path a line; what follows # is a comment.

set -euo pipefail

not_yet="$1"
shift
readonly line='SPDX-License-Identifier: Apache-2.0'
declare -A excused=()
while read -r path _; do
  [[ -z ${path} || ${path} == '#'* ]] || excused["${path}"]=1
done <"${not_yet}"

checked=0 waiting=0 failed=0 needless=''
for file in "${@#./}"; do
  first='' second=''
  {
    read -r first || true
    read -r second || true
  } <"${file}" 2>/dev/null
  case "${file}" in
    *.cc | *.h | *.java) [[ ${first} == "// ${line}" ]] && named=1 || named=0 ;;
    *.sh | *.bzl | *.py | *.pl | *.awk | BUILD | */BUILD | WORKSPACE | *.bazel)
      [[ ${first} == "# ${line}" || (${first} == '#!'* && ${second} == "# ${line}") ]] && named=1 || named=0
      ;;
    *)
      [[ ${first} == '#!'* ]] || continue
      [[ ${second} == "# ${line}" ]] && named=1 || named=0
      ;;
  esac
  checked=$((checked + 1))
  if ((named)); then
    [[ -z ${excused["${file}"]-} ]] || needless+=" ${file}"
  elif [[ -n ${excused["${file}"]-} ]]; then
    waiting=$((waiting + 1))
  else
    echo "${file} does not begin with: ${line}" >&2
    failed=1
  fi
done
((checked > 0)) || { echo 'no source was given' >&2; exit 1; }
[[ -z ${needless} ]] || echo "not needed any more:${needless}"
echo "${checked} sources were read, ${waiting} of them name no licence yet"
exit "${failed}"
