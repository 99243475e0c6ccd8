#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# subjects_test.sh SUBJECTS: tests which subjects of commits the check refuses, with a
# glossary that it contains.

set -euo pipefail

check="$1"
export GLOSSARY="${TEST_TMPDIR}/glossary.md"
printf '| use | for | not |\n|---|---|---|\n| supervisor | | overlord, great book |\n' >"${GLOSSARY}"
failed=0

good() {
  "${check}" <<<"$1" >/dev/null || { echo "refused: $1" >&2; failed=1; }
}
# bad REASON SUBJECT: the check refuses SUBJECT for this REASON.
bad() {
  local said
  if said="$("${check}" <<<"$2" 2>&1)"; then
    echo "accepted: $2" >&2
    failed=1
  elif [[ ${said} != *"$1"* ]]; then
    echo "$2: the reason is: ${said}" >&2
    failed=1
  fi
}

good 'net: pause accept on EMFILE'
good 'server/log: expect the lines of the first child in the test'
good 'server, testing: process one event at a time'
good '.ci: run the fuzz tests'
good 'docs: address the questions of operators'
good "$(printf 'net: add %063d' 0)"
bad '73 columns' "$(printf 'net: add %064d' 0)"
bad 'an area and a colon' 'Pause accept on EMFILE'
bad 'an area and a colon' 'Merge branch x'
bad 'an area and a colon' 'Net: pause accept'
bad 'an area and a colon' 'net:pause accept'
bad 'no verb in lower case' 'net: Pause accept'
bad 'no imperative' 'net: pauses accept on EMFILE'
bad 'no imperative' 'net: paused accept on EMFILE'
bad 'no imperative' 'net: pausing accept on EMFILE'
bad "begins with 'the'" 'net: the accept is paused'
bad "begins with 'what'" 'net: what waits behind a closed window'
bad 'full stop' 'net: pause accept.'
bad "says 'overlord'" 'net: obey the overlord'
bad "says 'great book'" 'server: keep the great_book of pids'
bad 'columns' $'net: pause accept\n'"$(printf 'net: add %0100d' 0)"
exit "${failed}"
