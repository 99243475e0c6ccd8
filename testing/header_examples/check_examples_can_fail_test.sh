#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# check_examples_can_fail_test.sh CHECK: tests that the check of examples finds each
# kind of error, in a temporary tree.

set -euo pipefail

check="${PWD}/$1"
cd "${TEST_TMPDIR}"
mkdir -p room
failed=0

build='
brood_library(
    name = "x",
    hdrs = ["x.h"],
    visibility = ["//visibility:public"],
)

brood_library(
    name = "hidden",
    hdrs = ["hidden.h"],
    visibility = ["//server:__pkg__"],
)'
header='// X: a thing.
//
// Example:
//   X x;
//   ... a long time ...
//   x.Use(1,
//         2);
// and no more.

#ifndef X'
source='int main() {
  // Example of room/x.h.
  X x;
  Wait();
  x.Use(1, 2);
  // End of the example.
}'

also=()

# expect VERDICT WORDS: the check of the files in the variables passes or fails,
# and prints WORDS.
expect() {
  local verdict=fails said
  printf '%s\n' "${build}" >room/BUILD
  printf '%s\n' "${header}" >room/x.h
  printf '%s\n' "${source}" >room/x_test.cc
  : >room/hidden.h
  if said="$("${check}" "${also[@]}" room/BUILD room/x_test.cc room/*.h 2>&1)"; then
    verdict=passes
  fi
  if [[ ${verdict} != "$1" || ${said} != *"$2"* ]]; then
    echo "line ${BASH_LINENO[0]}: it ${verdict}, and says: ${said}" >&2
    failed=1
  fi
}

# The tree as it is; each function below then changes one property of it.
expect passes '1 public headers'

example_changes() {
  local header="${header/X x;/X y;}"
  expect fails 'room/x.h: its example is not what is compiled'
}
example_changes

source_changes() {
  local source="${source/x.Use(1, 2);/}"
  expect fails 'room/x.h: its example is not what is compiled'
}
source_changes

source_has_another() {
  local source="${source/room\/x.h/room/y.h}"
  expect fails 'room/x.h: its example is not compiled'
}
source_has_another

example_is_called_otherwise() {
  local header="${header/Example:/For instance:}"
  expect fails 'room/x.h: has no example'
}
example_is_called_otherwise

example_is_elsewhere() {
  local header='// Example: see hidden.h.'
  expect fails 'room/x.h: has no example'
}
example_is_elsewhere

# In each form of the list of headers, whether the headers exist or not.
library_becomes_public() {
  local build="${build/\[\"hidden.h\"\]/[
        \"hidden.h\",
        \"absent.h\",
    ]}"
  expect passes '1 public headers'
  build="${build/\/\/server:__pkg__/\/\/visibility:public}"
  expect fails 'room/hidden.h: has no example'
  expect fails 'room/absent.h: is public, but is not among the files'
}
library_becomes_public

package_becomes_public() {
  local build="${build/visibility = \[\"\/\/server:__pkg__\"\],/}"
  expect passes '1 public headers'
  build="package(default_visibility = [\"//visibility:public\"])
${build}"
  expect fails 'room/hidden.h: has no example'
}
package_becomes_public

private_header_is_given_too() {
  local also=(--also=room/hidden.h)
  expect fails 'room/hidden.h: has no example'
}
private_header_is_given_too

nothing_is_public() {
  local build=''
  expect fails 'no public header was found'
}
nothing_is_public

exit "${failed}"
