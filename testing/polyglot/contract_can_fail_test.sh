#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The contract can fail: the client is run against servers with one fault each, and must
# report the conversation that the fault breaks, its line, and the bytes.
#
#     contract_can_fail_test.sh LANGUAGE

set -o nounset -o pipefail
# shellcheck source=server_under_test.sh
source "$(dirname "$0")/server_under_test.sh"
# shellcheck source=languages.sh
source "$(dirname "$0")/languages.sh"

language=$1
contract=$(dirname "$0")/contract.txt
wrong_server=$(dirname "$0")/wrong_server.py

# Prints the contract from the conversation $1 on, with empty lines in place of the lines
# before it: that saves time and keeps the line numbers.
contract_from() {
  awk -v name="$1" '/^conversation / && $2 == name { here = 1 } { print here ? $0 : "" }' "$contract"
}

# breaks FAULT NAME WORDS: with this fault of the server the client must fail at the
# conversation NAME and print WORDS.
breaks() {
  local fault=$1 name=$2 words=$3 output line
  contract_from "$name" >"$scratch/contract"
  start_server "$wrong_server" --fault="$fault"
  output=$(run_client "$language" "$server_port" "$scratch/contract" 1 2>&1)
  (($? == 1)) || fail "the client did not exit with 1, and printed: $output"
  [[ $output =~ "conversation $name, line "([0-9]+): ]] || fail "the client does not name $name: $output"
  line=${BASH_REMATCH[1]}
  [[ $output == *"line $line: $(sed -n "${line}s/^  //p" "$contract")"$'\n'* ]] ||
    fail "line $line is another one: $output"
  [[ $output == *"$words"* ]] || fail "the client does not print '$words': $output"
  stop_server
  echo "$output"
}

# refuses LINE: the client must refuse a contract that ends with LINE, and name the line.
refuses() {
  local output
  { contract_from the_last_word && echo "$1"; } >"$scratch/contract"
  start_server "$wrong_server"
  output=$(run_client "$language" "$server_port" "$scratch/contract" 20 2>&1)
  (($? == 2)) || fail "the client did not exit with 2 at the line '$1', and printed: $output"
  [[ $output == *"line $(wc -l <"$scratch/contract")"* ]] ||
    fail "the client does not name the line '$1': $output"
  stop_server
  echo "$output"
}

# The same server without a fault must pass, so a failure shows the fault.
keeps_the_contract_without_a_fault() {
  start_server "$wrong_server"
  run_client "$language" "$server_port" "$contract" 20 || fail "the client finds a fault in a server without one"
  stop_server
}

require python
require "$language"
compile "$language" "$scratch"
keeps_the_contract_without_a_fault
breaks greets silence_is_answered_with_silence '1 bytes came that were not expected'
breaks never_closes silence_is_answered_with_silence 'the server has not closed after 1 s'
breaks waits_for_the_end the_reply_does_not_wait_for_the_end 'after 1 s there were 0 of 14 bytes'
breaks takes_nul_for_the_end nul_bytes_end_nothing 'got      from byte 0: nothing'
breaks tidies_line_ends line_ends_stay_as_they_are 'expected from byte 0: 6f 6e 65 0d 0a 74 77 6f'
breaks believes_in_utf8 what_is_not_utf8_comes_back_too 'got      from byte 0: ef bf bd 28'
breaks swaps_two_bytes_of_a_long_read one_less_than_max_size 'first difference at byte 1021'
breaks drops_the_last_byte_of_a_full_read exactly_max_size 'the server closed after 1023 of 1024 bytes'
breaks closes_after_one_full_read one_more_than_max_size 'the server closed after 1024 of 1025 bytes'
breaks serves_one_at_a_time a_silent_client_keeps_no_other_waiting 'after 1 s there were 0 of 28 bytes'
breaks answers_the_last_client each_connection_gets_its_own_bytes 'first difference at byte'
refuses '  sing text:la'
refuses '  send hex:0g'
refuses '  chunk none'
refuses 'conversation'
