#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# declarations.sh FILE...
#
# Checks that in each FILE that is a header, each member function that a class declares,
# private or not, has a comment directly above it, or above its `template <...>`: an editor
# shows no other comment of the class with it.
#
# None is needed by an override, an operator, a destructor, a friend, and what is `= default`
# or `= delete`. The text must have the format of tools/format.

set -euo pipefail

headers=()
for file in "$@"; do
  [[ ${file} != *.h ]] || headers+=("${file}")
done
((${#headers[@]} > 0)) || { echo 'no header was given' >&2; exit 1; }

awk '
  # Returns how many characters of the text are among "set".
  function count(text, set) { return gsub("[" set "]", "", text) }

  # Returns the text without arguments of templates, which may have parentheses.
  function plain(text) {
    while (gsub(/<[^<>()]*(\([^<>()]*\)[^<>()]*)*>/, "", text)) {}
    return text
  }

  # Returns the name of the function that "text" declares; nothing if it declares a type or
  # a variable, or a destructor.
  function function_name(text) {
    text = plain(text)
    gsub(/\[\[[^]]*\]\]/, "", text)
    sub(/[={[].*/, "", text)
    if (!match(text, /[A-Za-z0-9_~]+\(/)) return ""
    text = substr(text, RSTART, RLENGTH - 1)
    return text ~ /^~/ ? "" : text
  }

  # Judges "text", a whole declaration, or its part before the body.
  function judge(text,    name) {
    if (text ~ /^(friend|static_assert|typedef)[ (]/) return
    if (text ~ /(^| )operator[^A-Za-z0-9_]/) return
    if (text ~ /\)[^(){};]* (override|final)([ ;{]|$)/) return
    if (text ~ /\)[^(){};]*= (default|delete);$/) return
    name = function_name(text)
    if (name == "") return
    declarations++
    if (commented) return
    print FILENAME ":" began ": " name " has no comment directly above it" > "/dev/stderr"
    failed = 1
  }

  FNR == 1 { files++; depth = 0; above = 0; text = "" }
  # This line may be between the comment and the function.
  /^ *\/\/ NOLINT/ { next }
  {
    line = $0
    gsub(/\\./, "", line)
    gsub(/"[^"]*"/, "\"\"", line)
    gsub(/\/\*[^*]*\*\//, "", line)
    gsub(/alignas\([^()]*\) */, "", line)
    is_comment = line ~ /^ *\/\//
    sub(/ *\/\/.*/, "", line)
    match(line, /^ */)
    indent = RLENGTH
  }
  # The innermost class ends.
  depth > 0 && text == "" && indent == indent_of[depth] && line ~ /^ *}/ { depth--; next }
  # A declaration goes on.
  text != "" && !is_comment { sub(/^ */, " ", line); text = text line }
  # One begins: of a class in a namespace, or of a member.
  text == "" && line ~ /^ *[A-Za-z_~[]/ &&
      (depth == 0 ? line ~ /^(template|class|struct|union)[ <]/ : indent == indent_of[depth] + 2) {
    text = line
    sub(/^ */, "", text)
    began = FNR
    began_at = indent
    commented = above
  }
  text == "" { above = is_comment; next }
  { above = 0 }
  # It is the line `template <...>` of the next one.
  text ~ /^template *<.*>$/ { above = commented; text = ""; next }
  # It ends, or its body begins.
  text ~ /[;{}]$/ && count(text, "(") == count(text, ")") {
    if (plain(text) ~ /^(class|struct|union)[^;()]*[{]$/) {
      indent_of[++depth] = began_at
    } else if (depth > 0) {
      judge(text)
    }
    text = ""
  }
  END {
    printf "%d declarations in %d headers were read\n", declarations, files
    exit failed
  }' "${headers[@]}"
