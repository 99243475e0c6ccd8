#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# links.sh FILE...
#
# Checks that each relative link of a page (a FILE that ends in .md) leads to one of the
# FILEs, or to a folder with some of them; and, if it has a fragment, to a heading of that
# page.

set -euo pipefail

awk '
  # Returns the fragment that GitHub derives from a heading.
  function slug(heading) {
    heading = tolower(heading)
    gsub(/[`*]/, "", heading)
    gsub(/[^a-z0-9 _-]/, "", heading)
    gsub(/ /, "-", heading)
    return heading
  }
  # Returns `path` without its "." and ".." parts.
  function clean(path,    parts, count, out, i, depth, result) {
    count = split(path, parts, "/")
    depth = 0
    for (i = 1; i <= count; ++i) {
      if (parts[i] == "." || parts[i] == "") continue
      if (parts[i] == ".." && depth > 0) { depth--; continue }
      out[++depth] = parts[i]
    }
    result = ""
    for (i = 1; i <= depth; ++i) result = result (i > 1 ? "/" : "") out[i]
    return result
  }
  BEGIN {
    for (i = 1; i < ARGC; ++i) {
      there[ARGV[i]] = 1
      folder = ARGV[i]
      while (sub(/\/[^\/]*$/, "", folder)) there[folder] = 1
      if (ARGV[i] !~ /\.md$/) ARGV[i] = ""
    }
  }
  FNR == 1 { code = 0 }
  /^```/ { code = !code; next }
  code { next }
  /^#+ / {
    heading = $0
    sub(/^#+ +/, "", heading)
    headings[FILENAME "#" slug(heading)] = 1
  }
  {
    rest = $0
    while (match(rest, /\]\([^) ]+\)/)) {
      target = substr(rest, RSTART + 2, RLENGTH - 3)
      rest = substr(rest, RSTART + RLENGTH)
      if (target ~ /^[a-z]+:/) continue
      links++
      from[links] = FILENAME
      line[links] = FNR
      to[links] = target
    }
  }
  END {
    for (i = 1; i <= links; ++i) {
      path = to[i]
      fragment = ""
      if (index(path, "#") > 0) {
        fragment = substr(path, index(path, "#") + 1)
        path = substr(path, 1, index(path, "#") - 1)
      }
      folder = from[i]
      if (!sub(/\/[^\/]*$/, "", folder)) folder = ""
      path = (path == "") ? from[i] : clean(folder "/" path)
      # Another workspace, whose files are not targets of this one.
      if (path ~ /^testing\/embedding/) continue
      if (!(path in there)) {
        print from[i] ":" line[i] ": there is no " path > "/dev/stderr"
        failed = 1
      } else if (fragment != "" && !((path "#" fragment) in headings)) {
        print from[i] ":" line[i] ": " path " has no heading #" fragment > "/dev/stderr"
        failed = 1
      }
    }
    print links + 0 " links were followed"
    if (links == 0) failed = 1
    exit failed
  }
' "${@#./}"
