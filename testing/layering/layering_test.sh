#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# layering_test.sh --nothing FILE... --path FILE...
#
# Checks that the queries whose results come after --nothing found no path, and that those
# after --path found one.

set -euo pipefail

wanted=
checked=0
failed=0
for argument in "$@"; do
  case "${argument}" in
    --nothing | --path)
      wanted="${argument}"
      continue
      ;;
  esac
  checked=$((checked + 1))
  # A file that can't be read ends the test here.
  found="$(<"${argument}")"
  case "${wanted}" in
    --nothing)
      if [[ -n ${found} ]]; then
        echo "${argument##*/} is a forbidden dependency, with the path:" >&2
        echo "${found}" >&2
        failed=1
      fi
      ;;
    --path)
      if [[ -z ${found} ]]; then
        echo "${argument##*/} was not found: the queries cover no target" >&2
        failed=1
      fi
      ;;
    *)
      echo "neither --nothing nor --path comes before ${argument}" >&2
      exit 1
      ;;
  esac
done
if ((checked == 0)); then
  echo "no query was given" >&2
  exit 1
fi
exit "${failed}"
