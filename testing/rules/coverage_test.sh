#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# coverage_test.sh COVERAGE FILE...: checks that each test and each target in the table of
# faults exists in one of the files.

set -euo pipefail

table="$1"
shift
failed=0
complain() {
  echo "${table}: $*" >&2
  failed=1
}

names="$(grep -ohE '^TEST(_[FP])?\([^)]*\)?|^ +[A-Za-z0-9_]+\) \{' "$@" | tr -s '(), {' '\n')"
# shellcheck disable=SC2016  # the backticks are the table's
quoted_words="$(grep -oE '`[^`]+`' "${table}" | tr -d '`')"
checked=0
while IFS= read -r quoted; do
  case "${quoted}" in
    *:*_test)
      label="${quoted#//}"
      [[ ${quoted} == //* ]] || label="testing/${quoted}"
      grep -q "\"${label#*:}\"" "${label%%:*}/BUILD" || complain "there is no ${quoted}"
      ;;
    [A-Z]*...) grep -q "^${quoted%...}" <<<"${names}" || complain "no test begins with ${quoted}" ;;
    *[!A-Za-z0-9]*) continue ;;
    [A-Z]*[a-z]*) grep -qx "${quoted}" <<<"${names}" || complain "there is no test ${quoted}" ;;
    *) continue ;;
  esac
  checked=$((checked + 1))
done <<<"${quoted_words}"
((checked >= 100)) || complain "only ${checked} names were found"
echo "${checked} names were looked up"
exit "${failed}"
