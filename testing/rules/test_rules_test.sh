#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# test_rules_test.sh FILE...
#
# Checks that no test among these files does what a rule forbids, except for the tests
# that the rule names.

set -euo pipefail

tests=()
for file in "$@"; do
  [[ ${file} == testing/*.cc ]] && tests+=("${file}")
done
if ((${#tests[@]} < 50)); then
  echo "only ${#tests[@]} sources of testing were given" >&2
  exit 1
fi

# Prints standard input on one line and without comments, so that a regular expression
# sees a call that takes several lines.
flatten() {
  sed 's|//.*||' | tr -s ' \n' ' '
}

# FILE:TEXT, for grep.
lines="$(for file in "${tests[@]}"; do echo "${file}:$(flatten <"${file}")"; done)"
failed=0

# rule WHAT REGEX SPECIMEN [FILE...]: REGEX matches SPECIMEN, and nothing in a test that is
# not among the FILEs.
rule() {
  local what="$1" regex="$2" specimen="$3" found file
  shift 3
  if ! flatten <<<"${specimen}" | grep -qP "${regex}"; then
    echo "${what}: the rule does not see '${specimen}'" >&2
    failed=1
  fi
  found="${lines}"
  for file in "$@"; do
    found="$(grep -v "^${file}:" <<<"${found}")"
  done
  found="$(grep -P "${regex}" <<<"${found}" | grep -oP "^[^:]+:|${regex}" || true)"
  if [[ -n ${found} ]]; then
    printf '%s:\n%s\n' "${what}" "${found}" >&2
    failed=1
  fi
}

# A new wording of a message must not break a test that does not check the wording.
readonly log='\blog(\(\)(\.All\(\))?)?'
rule 'a test reads events of the log, not its words' \
  "${log}, ?(::testing::)?(Not\(|AllOf\()?(::testing::)?(HasSubstr|ContainsRegex|MatchesRegex)\(" \
  '  EXPECT_THAT(server->log().All(),
              HasSubstr("forked pid"));' \
  testing/upgrades/upgrade_test.cc # what its new program writes
rule 'a test reads events of the log, and does not search it' \
  "\b(StrContains|StrSplit)\((report\.|server->)?${log}," \
  '  for (auto line : absl::StrSplit(report.log, newline)) {'
rule 'a test reads events of the log, and does not parse it' \
  "[>.]${log}\.r?find\(" \
  '  const size_t at = report.log.find("pid ");'
rule 'a test does not read the message of an event' \
  '\bText\("message"\)' \
  '  EXPECT_THAT(event->Text("message"), HasSubstr("forked pid"));' \
  testing/internal/log_lines_test.cc # which quotes another event in one
rule 'a server of a test logs events' \
  'LogFormat::kText\b|--log_format=text' \
  '  setup.options.log.format = server::LogFormat::kText;' \
  testing/shutdown/logging_test.cc # which is about the text

exit "${failed}"
