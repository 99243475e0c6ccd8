#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_examples.sh [--also=HEADER]... FILE...
#
# Checks that every public header has an example, and that every example is compiled.
#
# The files, in any order, are BUILD files (which say what is public), headers,
# and the sources that hold the examples, each between the lines
#
#   // Example of FOLDER/NAME.h.
#   // End of the example.
#
# An example is the indented part of the comment below a line that begins with
# "// Example", in the header. The source must contain it word for word, except for
# white space. A line of it that begins with "..." stands for omitted code. A public
# header that is not among the files is an error too. A header that is given by
# --also= is checked in the same way, although it is private.

set -euo pipefail

# shellcheck source=testing/header_examples/public_headers.sh
source "${BASH_SOURCE[0]%/*}/public_headers.sh"

# Prints the example in the header "$1", without white space, a line for each of
# its parts between "..." lines.
example_in() {
  local line part='' in_example=0
  while IFS= read -r line; do
    if [[ ${line} == '// Example'* ]]; then
      in_example=1
    elif ((!in_example)) || [[ ${line} == '//' ]]; then
      continue
    elif [[ ${line} == '//   ...'* ]]; then
      echo "${part}"
      part=
    elif [[ ${line} == '//   '* ]]; then
      line="${line#//}"
      part+="${line//[[:space:]]/}"
    else
      in_example=0
    fi
  done <"$1"
  echo "${part}"
}

# Prints the copy in the sources of the example of the header "$1".
compiled_for() {
  local line source in_example=0
  for source in "${sources[@]}"; do
    while IFS= read -r line; do
      line="${line#"${line%%[![:space:]]*}"}"
      if [[ ${line} == "// Example of $1." ]]; then
        in_example=1
      elif [[ ${line} == '// End of the example.' ]]; then
        in_example=0
      elif ((in_example)); then
        printf '%s' "${line//[[:space:]]/}"
      fi
    done <"${source}"
  done
}

builds=() sources=() also=() given=' '
for file in "$@"; do
  case "${file}" in
    --also=*)
      also+=("${file#*=}")
      given+="${file#*=} "
      ;;
    */BUILD) builds+=("${file}") ;;
    *.h) given+="${file} " ;;
    *.cc) sources+=("${file}") ;;
    *)
      echo "neither a BUILD file nor a header nor a source: ${file}" >&2
      exit 1
      ;;
  esac
done

checked=0 failed=0
complain() {
  echo "$*" >&2
  failed=1
}

check() {
  local header="$1" part example compiled
  if [[ ${given} != *" ${header} "* ]]; then
    complain "${header}: is public, but is not among the files"
    return
  fi
  example="$(example_in "${header}")"
  if [[ -z ${example} ]]; then
    complain "${header}: has no example"
    return
  fi
  compiled="$(compiled_for "${header}")"
  if [[ -z ${compiled} ]]; then
    complain "${header}: its example is not compiled by ${sources[*]}"
    return
  fi
  while IFS= read -r part; do
    if [[ ${compiled} != *"${part}"* ]]; then
      complain "${header}: its example is not what is compiled:"
      complain "  in the header  ${part}"
      complain "  compiled       ${compiled}"
    fi
    compiled="${compiled#*"${part}"}"
  done <<<"${example}"
}

for build in "${builds[@]}"; do
  while IFS= read -r header; do
    check "${header}"
    checked=$((checked + 1))
  done < <(public_headers "${build}")
done
if ((checked == 0)); then
  complain "no public header was found"
fi
for header in "${also[@]}"; do
  check "${header}"
done
echo "${checked} public headers were looked at"
exit "${failed}"
