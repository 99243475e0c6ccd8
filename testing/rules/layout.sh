#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# layout.sh [--longer=FILE]... [--fuller=FOLDER]... FILE...
#
# Checks the layout of the tree: the FILEs are those of its packages.
#
#   No source and no BUILD file has more than 400 lines, except --longer.
#   No folder has more than 25 sources that are not tests, except --fuller.
#   A file directly in net/, proc/, server/ or testing/ may be public; a file in a
#   sub-folder belongs to that package alone. So the headers of a public target are
#   directly in the folder, and no target of a sub-folder is public. Exception: in testing,
#   macros may need a public target without a header.

set -euo pipefail

readonly most_lines=400 most_sources=25
# shellcheck source=testing/header_examples/public_headers.sh
source "${PUBLIC_HEADERS:-testing/header_examples/public_headers.sh}"

declare -A longer=() fuller=() sources=()
looked_at=0 failed=0
complain() {
  echo "$*" >&2
  failed=1
}

# Reports whether "$1" is code; a list or a text has no limit.
is_source() {
  case "$1" in
    *.cc | *.h | *.sh | *.bzl | *.py | *.pl | *.java) true ;;
    *) false ;;
  esac
}

for file in "$@"; do
  case "${file}" in
    --longer=*) longer["${file#*=}"]=1 ;;
    --fuller=*) fuller["${file#*=}"]=1 ;;
    *) break ;;
  esac
  shift
done

for file in "$@"; do
  looked_at=$((looked_at + 1))
  folder="${file%/*}"
  if [[ ${file##*/} == BUILD ]] || is_source "${file}"; then
    lines="$(wc -l <"${file}")"
    if ((lines > most_lines)) && [[ -z ${longer[${file}]-} ]]; then
      complain "${file} has ${lines} lines, more than ${most_lines}"
    fi
  fi
  if is_source "${file}" && [[ ${file} != *_test.* ]]; then
    sources[${folder}]=$((${sources[${folder}]-0} + 1))
  fi
  [[ ${file##*/} == BUILD ]] || continue
  while IFS= read -r header; do
    [[ ${folder} != */* ]] ||
      complain "${header} is public, and ${folder} belongs to ${folder%%/*} alone"
    [[ ${header#"${folder}"/} != */* ]] ||
      complain "${header} is public, and does not lie in ${folder}"
  done < <(public_headers "${file}")
  if [[ ${folder} == */* && ${folder} != testing/* ]] && grep -v '^ *#' "${file}" | grep -q '"//visibility:public"'; then
    complain "${file} has a public target, and ${folder} belongs to ${folder%%/*} alone"
  fi
done
for folder in "${!sources[@]}"; do
  if ((sources[${folder}] > most_sources)) && [[ -z ${fuller[${folder}]-} ]]; then
    complain "${folder} has ${sources[${folder}]} sources, more than ${most_sources}"
  fi
done
((looked_at > 0)) || complain 'no file was given'
echo "${looked_at} files in ${#sources[@]} folders were looked at"
exit "${failed}"
