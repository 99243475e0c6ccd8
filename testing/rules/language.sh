#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# language.sh GLOSSARY FILE...
#
# Checks that no line and no path of the FILEs contains a term of the third column of the
# GLOSSARY: in any case, inside of identifiers of either style, and across the end of a
# line.

set -euo pipefail

# shellcheck source=testing/rules/banned_words.sh
source "${BANNED_WORDS:-testing/rules/banned_words.sh}"
glossary="$1"
shift

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
  awk -F'\t' -v banned="${banned}" -v glossary="${glossary}" -v allowed="${allowed}" '
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
      if (path == glossary) next
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
        term = substr(text, RSTART, RLENGTH)
        gsub(/^ +| +$/, "", term)
        printf "%s:%d: \"%s\" is not a term of %s\n", path, $2, term, glossary > "/dev/stderr"
        failed = 1
      }
      # (The path is not carried into the first line.)
      count = split(text, parts, " ")
      carried = ($2 > 0 && count > 0 && !found) ? " " parts[count] " " : ""
    }
    END {
      printf "%d files were read\n", files
      exit failed
    }'
