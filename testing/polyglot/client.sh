#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Replays the contract against an echo server, with netcat for every connection.
#
#     client.sh PORT CONTRACT [DEADLINE_SECONDS]
#
# contract.txt describes its lines. Exit code: 0 if every conversation went as
# written, 1 if one did not (the client prints its name, line and bytes), 2 if the
# contract itself cannot be read.
#
# One netcat is one connection, and this script never blocks when it writes to it: a
# `send` writes an order, which is a line, to a pipe. The process `deliver` reads the
# orders and writes their bytes to the standard input of netcat, one after the other.
# So the client can read what netcat prints while bytes are still being sent. When the
# script closes the pipe of orders, and all bytes are delivered, netcat half-closes:
#
#     send ──orders──▶ deliver ──bytes──▶ nc -N ◀──TCP──▶ server
#                                           └──bytes──▶ expect
#
# Shell variables cannot hold NUL bytes, so bytes live in files and pipes only.
# A netcat ends in the same way after a reset and after the end of the stream, so here a
# reset shows only by missing bytes. Clients in other languages see the reset itself.

set -o nounset -o pipefail
export LC_ALL=C  # bytes, not characters

if (($# < 2 || $# > 3)); then
  echo "usage: client.sh PORT CONTRACT [DEADLINE_SECONDS]" >&2
  exit 2
fi
readonly port=$1 contract=$2 deadline=${3:-20}
readonly excerpt_bytes=16

declare -A netcat=()      # connection name -> the process
declare -A orders=()      # connection name -> where to order, until half-closed
declare -A replies=()     # connection name -> where to read what netcat prints
declare -A bytes_file=()  # BYTES word -> the file that holds them
conversation=''           # the name of the one being held
current=''                # the connection that the next steps are for
chunk=''                  # how the next sends are cut up; empty: not at all
step=''                   # the one being done, as it is written
made='' made_bytes=0      # the file with the bytes of that step

# Runs every conversation of the contract with the server.
replay() {
  local line number=0 conversations=0 steps=0
  while IFS= read -r -u 3 line; do
    ((++number))
    case $line in
      '' | '#'* | 'server '*) ;;
      'conversation '*)
        begin_conversation "${line#conversation }"
        ((++conversations))
        ;;
      '  '*)
        step="line $number: ${line#  }"
        [[ -n $conversation ]] || unreadable "$step: no conversation has begun"
        take "${line#  }"
        ((++steps))
        ;;
      *) unreadable "line $number: no such line: $line" ;;
    esac
  done 3<"$contract"
  end_conversation
  echo "$conversations conversations, $steps steps"
}

begin_conversation() {
  end_conversation
  conversation=$1
  current='the only one'
  chunk=''
}

end_conversation() {
  for current in "${!netcat[@]}"; do
    hang_up
  done
}

# Does one step of the contract.
take() {
  local verb=${1%% *} rest=${1#* }
  case $1 in
    'over '*) current=$rest ;;
    'chunk '*) is_count "$rest" && chunk=$rest ;;
    'send '*) make_bytes "$rest" && connect && send "$made" ;;
    'expect '*) make_bytes "$rest" && connect && expect "$made" "$made_bytes" ;;
    'exchange '*)
      is_count "${rest%% *}" && make_bytes "${rest#* }" && connect
      exchange "${rest%% *}" "$made" "$made_bytes"
      ;;
    half-close) connect && half_close ;;
    expect-eof) connect && expect_eof ;;
    close) connect && hang_up ;;
    *) unreadable "$step: no such step: $verb" ;;
  esac
}

# ----------------------------------------------------------------- Connections.

# Opens the current connection if this is the first step for it.
connect() {
  [[ -z ${netcat[$current]-} ]] || return 0
  local pipe=$workplace/orders from_netcat to_deliverer
  mkfifo "$pipe"
  exec {from_netcat}< <(let_go_of_the_others; exec nc -N 127.0.0.1 "$port" < <(deliver <"$pipe"))
  netcat[$current]=$!
  exec {to_deliverer}>"$pipe"
  rm "$pipe"
  replies[$current]=$from_netcat
  orders[$current]=$to_deliverer
}

# Closes the pipes of other connections in the processes of this one: as long as a
# process has such a pipe open, the other connection is not half-closed.
let_go_of_the_others() {
  local other
  for other in "${orders[@]}"; do
    exec {other}>&-
  done
}

# Writes the bytes of each order, "CHUNK FILE", to netcat. Ends when the orders end or
# netcat has ended.
deliver() {
  local chunk file
  while read -r chunk file; do
    dd if="$file" bs="$chunk" status=none 2>/dev/null || exit
  done
}

send() {
  local file=$1
  echo "${chunk:-65536} $file" >&"${orders[$current]}"
}

expect() {
  local file=$1 size=$2 got=$workplace/got why received place
  if timeout "$deadline" stdbuf --output=0 head -c "$size" <&"${replies[$current]}" >"$got"; then
    why='the server closed after'
  else
    why="after $deadline s there were"
  fi
  cmp -s "$got" "$file" && return

  received=$(stat -c %s "$got")
  ((received < size)) && why="$why $received of $size bytes; " || why=''
  place=$(first_difference "$got" "$file")
  broken "${why}first difference at byte $place" \
    "expected $(excerpt "$file" "$place")" \
    "got      $(excerpt "$got" "$place")"
}

exchange() {
  local piece_bytes=$1 file=$2 rest_bytes=$3 piece
  rm -f "$workplace"/piece.*
  split -a 4 -b "$piece_bytes" "$file" "$workplace/piece."
  for piece in "$workplace"/piece.*; do
    send "$piece"
    expect "$piece" "$((rest_bytes < piece_bytes ? rest_bytes : piece_bytes))"
    ((rest_bytes -= piece_bytes))
  done
}

half_close() {
  local to_deliverer=${orders[$current]}
  exec {to_deliverer}>&-
  unset "orders[$current]"
}

expect_eof() {
  local surplus=$workplace/surplus
  timeout "$deadline" cat <&"${replies[$current]}" >"$surplus" ||
    broken "the server has not closed after $deadline s"
  [[ ! -s $surplus ]] ||
    broken "$(stat -c %s "$surplus") bytes came that were not expected" "got      $(excerpt "$surplus" 0)"
  forget
}

# Ends the current connection at once.
hang_up() {
  kill -KILL "${netcat[$current]}" 2>/dev/null  # unless the server has hung up first
  forget
}

# Closes the pipes of the current connection, whose netcat has ended or is ending.
forget() {
  local from_netcat=${replies[$current]}
  [[ -z ${orders[$current]-} ]] || half_close
  wait "${netcat[$current]}"
  exec {from_netcat}<&-
  unset "netcat[$current]" "replies[$current]"
}

# ----------------------------------------------------------------------- Bytes.

# Writes the bytes of a BYTES word to a file, and sets $made to its path and $made_bytes to
# its size. Does this once for each word.
make_bytes() {
  local spec=$1
  local kind=${spec%%:*} rest=${spec#*:}
  local first=${rest%%:*} second=${rest#*:}
  case $kind in
    text) made_bytes=${#rest} ;;
    hex) is_hex "$rest" && made_bytes=$((${#rest} / 2)) ;;
    repeat) is_count "$first" && is_hex "$second" && made_bytes=$((first * ${#second} / 2)) ;;
    counter) is_count "$second" && made_bytes=$second ;;
    *) unreadable "$step: no such kind of bytes: $spec" ;;
  esac
  made=${bytes_file[$spec]-}
  [[ -z $made ]] || return 0
  made=$workplace/bytes.${#bytes_file[@]}
  bytes_file[$spec]=$made
  case $kind in
    text) printf '%s' "$rest" ;;
    hex) from_hex <<<"${rest^^}" ;;
    repeat) seq "$first" | sed "s/.*/${second^^}/" | from_hex ;;
    counter) seq "$first" "$((first + (second + 3) / 4 - 1))" | xargs printf '%08X' | from_hex ;;
  esac >"$made"
  truncate --size="$made_bytes" "$made"
}

from_hex() {
  basenc --decode --base16
}

is_hex() {
  [[ $1 =~ ^([0-9a-f]{2})+$ ]] || unreadable "$step: not bytes in hex: $1"
}

is_count() {
  [[ $1 =~ ^[1-9][0-9]*$ ]] || unreadable "$step: not a number of bytes: $1"
}

# Prints the first difference of two files: how many bytes they have in common.
first_difference() {
  local verdict
  # "A B differ: char 5, line 1" counts from 1; otherwise A is just too short.
  verdict=$(cmp "$1" "$2" 2>&1)
  if [[ $verdict =~ differ:\ (byte|char)\ ([0-9]+) ]]; then
    echo "$((BASH_REMATCH[2] - 1))"
  else
    stat -c %s "$1"
  fi
}

# Prints the bytes near a place, in hex.
excerpt() {
  local file=$1 begin=$(($2 < excerpt_bytes / 2 ? 0 : $2 - excerpt_bytes / 2)) shown
  shown=$(tail -c "+$((begin + 1))" "$file" | head -c "$excerpt_bytes" | od -A n -v -t x1)
  echo "from byte $begin:${shown:- nothing}"
}

# --------------------------------------------------------------------- Failing.

# Ends the client with 1: the server has broken the contract.
broken() {
  echo "client.sh: conversation $conversation, $step" >&2
  printf '  %s\n' "$@" >&2
  exit 1
}

# The contract has a line that this client does not understand.
unreadable() {
  echo "client.sh: $contract $1" >&2
  exit 2
}

clean_up() {
  end_conversation
  rm -rf "$workplace"
}

if [[ $(nc -h 2>&1) != *OpenBSD* ]]; then
  echo "client.sh: needs OpenBSD's netcat as nc (Debian: apt-get install netcat-openbsd)" >&2
  exit 2
fi
workplace=$(mktemp -d)
readonly workplace
trap clean_up EXIT
replay
