#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# To be sourced. banned_words GLOSSARY: prints what stands in the third columns of the
# glossary's tables, but for what is in parentheses, one term a line, in lower case and
# without punctuation.

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
