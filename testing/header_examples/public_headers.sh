# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# To be sourced. public_headers BUILD: prints the public headers of the package
# with this BUILD file, as FOLDER/NAME.h, a line each.

public_headers() {
  local folder="${1%/BUILD}" line rest by_default=0 public=0 in_headers=0 headers=()
  while IFS= read -r line; do
    case "${line}" in
      *default_visibility*//visibility:public*) by_default=1 ;;
      *'('*) [[ ${line} == [a-z]* ]] && headers=() public="${by_default}" ;;
    esac
    [[ ${line} == *hdrs\ =* ]] && in_headers=1
    if ((in_headers)); then
      rest="${line}"
      while [[ ${rest} =~ \"([^\"]+\.h)\"(.*) ]]; do
        headers+=("${BASH_REMATCH[1]}")
        rest="${BASH_REMATCH[2]}"
      done
      [[ ${line} == *]* ]] && in_headers=0
    fi
    [[ ${line} == *visibility\ =\ * && ${line} != *default_visibility* ]] && public=0
    [[ ${line} == *'"//visibility:public"'* ]] && public=1
    if [[ ${line} == ')' ]] && ((public)) && ((${#headers[@]} > 0)); then
      printf "${folder}/%s\n" "${headers[@]}"
    fi
  done <"$1"
}
