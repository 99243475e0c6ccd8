#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# layout_can_fail_test.sh CHECK PUBLIC_HEADERS: tests that the check of the layout finds
# each kind of error, in a temporary tree.

set -euo pipefail

check="${PWD}/$1"
export PUBLIC_HEADERS="${PWD}/$2"
cd "${TEST_TMPDIR}"
mkdir -p package/inner
failed=0

# expect VERDICT WORDS ARGUMENTS...: the check passes or fails, and prints WORDS.
expect() {
  local wanted="$1" words="$2" verdict=fails said
  shift 2
  if said="$("${check}" "$@" 2>&1)"; then
    verdict=passes
  fi
  if [[ ${verdict} != "${wanted}" || ${said} != *"${words}"* ]]; then
    echo "line ${BASH_LINENO[0]}: it ${verdict}, and says: ${said}" >&2
    failed=1
  fi
}

# library VISIBILITY HEADER: a BUILD file with one target.
library() {
  printf 'brood_library(\n    name = "x",\n    hdrs = ["%s"],\n    visibility = ["%s"],\n)\n' "$2" "$1"
}

library //visibility:public x.h >package/BUILD
library //server:__pkg__ y.h >package/inner/BUILD
for ((i = 1; i <= 26; ++i)); do
  echo 'int x;' >"package/s${i}.cc"
done
seq 400 >package/long.cc
seq 401 >package/longer.cc

good=(package/BUILD package/inner/BUILD package/long.cc)
expect passes '3 files in 1 folders' "${good[@]}"
expect fails 'no file was given'
expect fails 'package/longer.cc has 401 lines' "${good[@]}" package/longer.cc
expect passes '4 files' --longer=package/longer.cc "${good[@]}" package/longer.cc
expect passes '26 files' package/BUILD package/s{1..25}.cc
expect fails 'package has 26 sources' package/BUILD package/s{1..26}.cc
expect passes '27 files' --fuller=package package/BUILD package/s{1..26}.cc
mv package/s26.cc package/s26_test.cc
expect passes '27 files' package/BUILD package/s{1..25}.cc package/s26_test.cc
seq 401 >package/inner/BUILD
expect fails 'package/inner/BUILD has 401 lines' "${good[@]}"
library //visibility:public y.h >package/inner/BUILD
expect fails 'package/inner/y.h is public, and package/inner belongs to package alone' "${good[@]}"
printf 'package(default_visibility = ["//visibility:public"])\n' >package/inner/BUILD
expect fails 'package/inner/BUILD has a public target' "${good[@]}"
echo '# not "//visibility:public"' >package/inner/BUILD
expect passes '3 files' "${good[@]}"
library //visibility:public inner/y.h >package/BUILD
expect fails 'package/inner/y.h is public, and does not lie in package' "${good[@]}"
exit "${failed}"
