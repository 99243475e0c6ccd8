#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# class_comments.sh FILE...
#
# Checks that in each FILE that is a header, each class, struct and enum of a namespace has
# a comment of at most 20 lines directly above it, where an editor finds it; and that the
# only comment before the include guard is the licence.

set -euo pipefail

headers=()
for file in "$@"; do
  [[ ${file} != *.h ]] || headers+=("${file}")
done
((${#headers[@]} > 0)) || { echo 'no header was given' >&2; exit 1; }

awk -v most=20 '
  function complain(what) {
    print FILENAME ":" FNR ": " what > "/dev/stderr"
    failed = 1
  }
  FNR == 1 { files++; above = 0; guarded = 0; banner = 0 }
  /^\/\/ SPDX-License-Identifier/ && FNR == 1 { next }
  /^#ifndef/ && !guarded {
    guarded = 1
    if (banner > 0) complain("a comment of " banner " lines stands before the include guard")
  }
  !guarded && /^\/\// { banner++ }
  /^\/\// { above++; next }
  # This line may be between the comment and the class.
  /^template <.*>$/ { next }
  /^(class|struct|enum class|enum) / && (/{/ || !/;[ \t]*(\/\/.*)?$/) {
    name = $0
    sub(/^(enum class|enum|class|struct) /, "", name)
    sub(/[^A-Za-z0-9_].*/, "", name)
    classes++
    if (above == 0) complain(name " has no comment directly above it")
    if (above > most) complain("the comment of " name " has " above " lines, more than " most)
  }
  { above = 0 }
  END {
    printf "%d classes in %d headers were read\n", classes, files
    exit failed
  }' "${headers[@]}"
