#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the examples that --help prints. The test changes only paths and ports; the server
# has the name "server".
#
#     examples_test.sh SERVER DOCS

set -o nounset -o pipefail

server=$1
# Not in TEST_TMPDIR, whose name may be too long for a unix socket.
scratch=$(mktemp -d /tmp/XXXXXX)
pid=
trap '[[ -z $pid ]] || kill -9 "$pid"; rm -rf "$scratch"' EXIT

fail() {
  echo "FAILED: $1" >&2
  [[ ! -s $scratch/log ]] || cat "$scratch/log" >&2
  exit 1
}

mkdir "$scratch/bin" "$scratch/git" "$scratch/sock"
ln -s "$PWD/$server" "$scratch/bin/server"
PATH=$scratch/bin:$PATH

# Stand-ins for programs that a machine may lack. Each prints its arguments.
for name in git sshd; do
  printf '#!/bin/sh\necho "%s $*"\n' "$name" >"$scratch/bin/$name"
  chmod +x "$scratch/bin/$name"
done

# Sets $replies to the reply that a client of the example $1 gets when it sends $2 and ends
# its side. A program that ends before it has read everything resets the connection.
replies_of() {
  local line example=$1
  export sent=$2
  example=${example//\/usr\/sbin\/sshd/$scratch/bin/sshd}
  example=${example//\/srv\/git/$scratch/git}
  example=${example//unix:\/run/unix:$scratch\/sock}
  example=$(sed -E 's/--listen=:[0-9]+/--listen=127.0.0.1:0/' <<<"$example")
  mkfifo "$scratch/out"
  bash -c "exec $example" >"$scratch/out" 2>"$scratch/log" &
  pid=$!
  read -r -t 30 line <"$scratch/out" || fail "$1: it prints nothing"
  rm "$scratch/out"
  if [[ $line == "listening unix:"* ]]; then
    replies=$(perl -MIO::Socket::UNIX -e '
      $SIG{PIPE} = "IGNORE";
      my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die $!;
      syswrite $s, $ENV{sent}; shutdown $s, 1; print <$s>' "${line#listening unix:}")
  else
    exec 5<>"/dev/tcp/127.0.0.1/${line##*:}" || fail "$1: it does not accept"
    replies=$(perl -e '
      $SIG{PIPE} = "IGNORE";
      open my $s, "+<&=", 5; syswrite $s, $ENV{sent}; shutdown $s, 1; print <$s>')
    exec 5>&-
  fi
  kill -TERM "$pid"
  wait "$pid" || fail "$1: it ended with $?"
  pid=
}

examples=$("$server" --help | sed -n '/^Examples$/,/^$/p' | sed '1d;$d' | sed ':a;/\\$/{N;s/\\\n *//;ba}')
((5 == $(wc -l <<<"$examples"))) || fail "--help has not 5 examples: $examples"
held=0
while read -r example; do
  [[ $example == *" -- cat" ]] && sent=hello || sent=
  replies_of "$example" "$sent"
  case $example in
    *" -- cat") expected=hello ;;
    *"git daemon"*) expected="git daemon --inetd --export-all --base-path=$scratch/git" ;;
    *sshd*) expected="sshd -i" ;;
    *MODE=test*) expected="127.0.0.1 test" ;;
    *"date -u"*)
      [[ $replies == *UTC* ]] || fail "$example: a client gets no date: '$replies'"
      expected=$replies
      ;;
    *) fail "$example is not known to this test" ;;
  esac
  [[ $replies == "$expected" ]] || fail "$example: a client gets '$replies' and not '$expected'"
  ((++held))
done <<<"$examples"
((held == 5)) || fail "$held examples were run"
echo "5 examples of --help work as they are written"

# docs/programs.md has the same examples.
indented() {
  sed -n "/$1/,/$2/p" "$3" | sed '1d;$d' | sed 's/^ *//;/^$/d'
}
diff <("$server" --help | indented '^Examples$' '^$' /dev/stdin) \
  <(indented '^## Examples$' '^## What' "$2") || fail "$2 has other examples than --help"
