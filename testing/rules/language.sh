#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# language.sh GLOSSARY NOT_YET FILE...
#
# Checks that no line and no path of the FILEs contains a term of the third column of the
# GLOSSARY: in any case, inside of identifiers of either style, and across the end of a
# line. NOT_YET lists the files that are not in that form yet, one path a line; # begins a
# comment.

set -euo pipefail

# shellcheck source=testing/rules/banned_words.sh
source "${BANNED_WORDS:-testing/rules/banned_words.sh}"
glossary="$1" not_yet="$2"
shift 2

banned="$(banned_words "${glossary}" | paste -sd '|')"
[[ -n ${banned} ]] || { echo "${glossary} bans nothing" >&2; exit 1; }
allowed="$(allowed_phrases "${glossary}" | paste -sd '|')"
(($# > 0)) || { echo 'no file was given' >&2; exit 1; }

# Prints PATH<tab>LINE<tab>TEXT; line 0 is the path itself.
awk '
  FNR == 1 {
    path = FILENAME
    sub(/^\.\//, "", path)
    print path "\t0\t" path
  }
  { print path "\t" FNR "\t" $0 }
' "$@" | sed -E 's/([a-z0-9])([A-Z])/\1 \2/g' |
  awk -F'\t' -v banned="${banned}" -v not_yet="${not_yet}" -v glossary="${glossary}" \
    -v allowed="${allowed}" '
    BEGIN {
      while ((getline path < not_yet) > 0) {
        sub(/ *#.*/, "", path)
        if (path != "") excused[path] = 1
      }
    }
    # Returns the words of a text, with one blank around each.
    function words(text) {
      text = tolower(text)
      gsub(/[^a-z0-9]+/, " ", text)
      gsub(/^ +| +$/, "", text)
      text = " " text " "
      # Removes the phrases in which a term is allowed.
      while (allowed != "" && match(text, " (" allowed ") ")) {
        text = substr(text, 1, RSTART) "_ " substr(text, RSTART + RLENGTH)
      }
      return text
    }
    {
      path = $1
      if (path == glossary || path == not_yet) next
      if (path != last) { files++; carried = "" }
      last = path
      text = $0
      sub(/^[^\t]*\t[^\t]*\t/, "", text)
      text = words(text)
      # A term may begin on the line before.
      found = match(text, " (" banned ") ")
      if (!found) {
        joined = carried substr(text, 2)
        found = match(joined, " (" banned ") ")
        if (found) text = joined
      }
      if (found) {
        total++
        if (path in excused) {
          dirty[path] = 1
        } else {
          term = substr(text, RSTART, RLENGTH)
          gsub(/^ +| +$/, "", term)
          printf "%s:%d: \"%s\" is not a term of %s\n", path, $2, term, glossary > "/dev/stderr"
          failed = 1
        }
      }
      # (The path is not carried into the first line.)
      count = split(text, parts, " ")
      carried = ($2 > 0 && count > 0 && !found) ? " " parts[count] " " : ""
    }
    END {
      for (path in dirty) waiting++
      for (path in excused) if (!(path in dirty)) clean = clean " " path
      if (clean != "") print "not needed any more:" clean
      printf "%d files were read, %d of them are not in this form yet, %d lines in all\n",
        files, waiting, total
      exit failed
    }'
