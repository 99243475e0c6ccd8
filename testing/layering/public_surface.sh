#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# public_surface.sh HEADERS HEADER LIMIT FILE...
#
# Checks the headers of Brood that an embedder can include. HEADERS is a file with their
# paths: the headers of Brood must be public according to the BUILD files among the FILEs.
# HEADER is one of them: it includes at most LIMIT headers of Brood, directly or not and
# with itself, all of them are in HEADERS, and they are printed.

set -euo pipefail

# shellcheck source=testing/header_examples/public_headers.sh
source testing/header_examples/public_headers.sh

listed="$1" first="$2" limit="$3"
shift 3
failed=0
complain() {
  echo "$*" >&2
  failed=1
}

public=' '
for build in "$@"; do
  [[ ${build} == */BUILD ]] || continue
  while IFS= read -r header; do
    public+="${header} "
  done < <(public_headers "${build}")
done

# A header of Brood is listed twice: as a file of its package, and below its prefix.
can_include=' '
while IFS= read -r path; do
  case "${path}" in
    */_virtual_includes/*/brood/*) path="${path#*/_virtual_includes/*/brood/}" ;;
    net/* | proc/* | server/* | testing/*) ;;
    *) continue ;;
  esac
  [[ ${can_include} == *" ${path} "* ]] || can_include+="${path} "
done <"${listed}"
read -ra each <<<"${can_include}"
for path in "${each[@]}"; do
  [[ ${public} == *" ${path} "* ]] || complain "${path} is private, and can be included"
done

behind=("${first}")
for ((i = 0; i < ${#behind[@]}; ++i)); do
  if [[ ${can_include} != *" ${behind[i]} "* ]]; then
    complain "${behind[i]} is behind ${first}, and cannot be included"
    continue
  fi
  while IFS= read -r included; do
    [[ " ${behind[*]} " == *" ${included} "* ]] || behind+=("${included}")
  done < <(sed -n 's/^#include "brood\/\(.*\)"$/\1/p' "${behind[i]}")
done
echo "${first} has ${#behind[@]} headers behind it, itself among them:"
printf '  %s\n' "${behind[@]}"
((${#behind[@]} <= limit)) || complain "${first} has more than ${limit} headers behind it"
exit "${failed}"
