#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# To be sourced.
#
# banned_words GLOSSARY: prints the terms in the third columns of the tables of the
# glossary, except those in parentheses, one a line, in lower case and without punctuation.
#
# allowed_phrases GLOSSARY: prints, in the same form, the phrases between backticks in the
# paragraph that begins with "The user of the system": a term is allowed in them.

banned_words() {
  awk -F' *\\| *' '
    /^\|/ && NF >= 5 && $4 != "not" && $4 !~ /^-*$/ {
      gsub(/\([^)]*\)/, "", $4)
      count = split($4, terms, ",")
      for (i = 1; i <= count; ++i) {
        term = tolower(terms[i])
        gsub(/[^a-z0-9]+/, " ", term)
        gsub(/^ +| +$/, "", term)
        if (term != "") print term
      }
    }' "$1" | sort -u
}

allowed_phrases() {
  awk '
    /^The user of the system/ { on = 1 }
    /^$/ { on = 0 }
    on {
      count = split($0, parts, "`")
      for (i = 2; i <= count; i += 2) {
        gsub(/[A-Z]/, " &", parts[i])
        phrase = tolower(parts[i])
        gsub(/[^a-z0-9]+/, " ", phrase)
        gsub(/^ +| +$/, "", phrase)
        print phrase
      }
    }' "$1"
}
