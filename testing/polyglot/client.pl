#!/usr/bin/env perl
# SPDX-License-Identifier: Apache-2.0
# Replays the contract against an echo server, in plain Perl (core modules only).
#
#     client.pl PORT CONTRACT [DEADLINE_SECONDS]
#
# contract.txt describes its lines. Exit code: 0 if every conversation went as
# written, 1 if one did not (the client prints its name, line and bytes), 2 if the
# contract itself cannot be read.

use strict;
use warnings;

use Errno qw(EAGAIN EINTR);
use IO::Socket::INET;
use List::Util qw(max);
use Socket qw(IPPROTO_TCP SHUT_WR TCP_NODELAY);
use Time::HiRes qw(clock_gettime CLOCK_MONOTONIC);

use constant EXCERPT_BYTES => 16;

die "usage: client.pl PORT CONTRACT [DEADLINE_SECONDS]\n" unless @ARGV == 2 || @ARGV == 3;
my ($port, $contract, $deadline_seconds) = (@ARGV, 20);

my $conversation;   # the name of the one being held
my %connections;    # by name; each has a socket, what it received and no step has
                    # expected yet, and whether the server has closed it
my $current;        # the name of the connection that the next steps are for
my $chunk_bytes;    # how the next sends are cut up; undefined: not at all
my $step;           # the one being done, as it is written

$SIG{PIPE} = 'IGNORE';    # a server that hangs up is an error to report
replay();

# Runs every conversation of the contract with the server.
sub replay {
  my ($conversations, $steps) = (0, 0);
  open my $lines, '<:raw', $contract or unreadable($!);
  while (my $line = <$lines>) {
    chomp $line;
    next if $line =~ /^(#|server |$)/;
    if ($line =~ /^conversation (.+)/) {
      begin_conversation($1);
      $conversations++;
    } elsif ($line =~ /^  (.+)/ && $conversations) {
      $step = "line $.: $1";
      take($1);
      $steps++;
    } else {
      unreadable("line $.: no such line: $line");
    }
  }
  print "$conversations conversations, $steps steps\n";
}

sub begin_conversation {
  ($conversation) = @_;
  $current = 'the only one';
  $chunk_bytes = undef;
  %connections = ();    # closes them
}

# Does one step of the contract.
sub take {
  my ($verb, $rest) = split / /, $_[0], 2;
  if    ($_[0] eq 'half-close') { half_close(connection()) }
  elsif ($_[0] eq 'expect-eof') { expect_eof(connection()) }
  elsif ($_[0] eq 'close')      { close connection()->{socket} }
  elsif (!defined $rest)        { unreadable("$step: no such step") }
  elsif ($verb eq 'over')       { $current = $rest }
  elsif ($verb eq 'chunk')      { $chunk_bytes = count_from($rest) }
  elsif ($verb eq 'send')       { give(connection(), bytes_from($rest), $chunk_bytes) }
  elsif ($verb eq 'expect')     { expect(connection(), bytes_from($rest)) }
  elsif ($verb eq 'exchange')   {
    my ($piece_bytes, $spec) = split / /, $rest, 2;
    exchange(connection(), bytes_from($spec // ''), count_from($piece_bytes));
  }
  else { unreadable("$step: no such step") }
}

# Returns the current connection, and opens it if this is its first step.
sub connection { return $connections{$current} //= open_connection() }

# ----------------------------------------------------------------- Connections.

sub open_connection {
  my $socket = IO::Socket::INET->new(
    PeerAddr => '127.0.0.1',
    PeerPort => $port,
    Timeout  => $deadline_seconds,
  ) or broken("connect: $@");
  $socket->setsockopt(IPPROTO_TCP, TCP_NODELAY, 1);
  $socket->blocking(0);
  return {socket => $socket, received => '', ended => 0};
}

sub give {
  my ($connection, $bytes, $piece_bytes) = @_;
  my $until = deadline();
  $piece_bytes //= length $bytes;
  for (my $begin = 0; $begin < length $bytes; $begin += $piece_bytes) {
    my $unsent = substr $bytes, $begin, $piece_bytes;
    while (length $unsent) {
      wait_on($connection, $until, 'writing')
        or broken("the server took no more bytes for $deadline_seconds s");
      my $sent = syswrite $connection->{socket}, $unsent;
      if (defined $sent) { substr $unsent, 0, $sent, '' }
      elsif ($! != EAGAIN) { broken("send: $!") }    # EAGAIN: it was only readable
    }
  }
}

sub expect {
  my ($connection, $wanted) = @_;
  my $until = deadline();
  my $why = '';
  while (length $connection->{received} < length $wanted) {
    if ($connection->{ended}) { $why = 'the server closed after'; last }
    wait_on($connection, $until) or $why = "after $deadline_seconds s there were", last;
  }
  my $got = substr $connection->{received}, 0, length $wanted, '';
  return if $got eq $wanted;

  my $place = first_difference($got, $wanted);
  my $short = $why ? sprintf('%s %d of %d bytes; ', $why, length $got, length $wanted) : '';
  broken("${short}first difference at byte $place\n"
       . '  expected ' . excerpt($wanted, $place) . "\n"
       . '  got      ' . excerpt($got, $place));
}

sub exchange {
  my ($connection, $bytes, $piece_bytes) = @_;
  for (my $begin = 0; $begin < length $bytes; $begin += $piece_bytes) {
    my $piece = substr $bytes, $begin, $piece_bytes;
    give($connection, $piece);
    expect($connection, $piece);
  }
}

sub half_close {
  my ($connection) = @_;
  shutdown $connection->{socket}, SHUT_WR or broken("shutdown: $!");
}

sub expect_eof {
  my ($connection) = @_;
  my $until = deadline();
  until ($connection->{ended}) {
    wait_on($connection, $until) or broken("the server has not closed after $deadline_seconds s");
  }
  my $surplus = $connection->{received};
  return if $surplus eq '';
  broken(length($surplus) . " bytes came that were not expected\n"
       . '  got      ' . excerpt($surplus, 0));
}

# Waits until bytes or the end arrive or, for 'writing', bytes can be written. Stores
# what arrived. Returns false after the deadline.
sub wait_on {
  my ($connection, $until, $writing) = @_;
  my $bit = '';
  vec($bit, fileno $connection->{socket}, 1) = 1;
  my $found = 0;
  my ($readable, $writable);
  do {
    $readable = $connection->{ended} ? undef : $bit;
    $writable = $writing ? $bit : undef;
    $found = select $readable, $writable, undef, max(0, $until - clock_gettime(CLOCK_MONOTONIC));
  } while ($found < 0 && $! == EINTR);

  if ($found && defined $readable && vec $readable, fileno $connection->{socket}, 1) {
    my $count = sysread $connection->{socket}, my $arrived, 65536;
    broken("receive: $!") unless defined $count;
    $connection->{received} .= $arrived;
    $connection->{ended} = $count == 0;
  }
  return $found;
}

sub deadline { return clock_gettime(CLOCK_MONOTONIC) + $deadline_seconds }

# ----------------------------------------------------------------------- Bytes.

# Makes the bytes that a BYTES word of the contract stands for.
sub bytes_from {
  my ($spec) = @_;
  if ($spec =~ /^hex:((?:[0-9a-f]{2})+)$/)             { return pack 'H*', $1 }
  if ($spec =~ /^text:(.+)$/)                          { return $1 }
  if ($spec =~ /^repeat:(\d+):((?:[0-9a-f]{2})+)$/)    { return pack('H*', $2) x $1 }
  if ($spec =~ /^counter:(\d+):(\d+)$/) {
    return substr pack('N*', $1 .. $1 + int(($2 + 3) / 4) - 1), 0, $2;
  }
  unreadable("$step: no bytes can be made of $spec");
}

sub count_from {
  my ($word) = @_;
  return $word =~ /^[1-9]\d*$/ ? $word : unreadable("$step: not a number of bytes: $word");
}

# Returns the first difference of two streams: how many bytes they have in common.
sub first_difference {
  my ($got, $wanted) = @_;
  my $common = $got ^ substr $wanted, 0, length $got;
  return $common =~ /[^\0]/ ? $-[0] : length $got;
}

# Returns the bytes near a place, in hex.
sub excerpt {
  my ($bytes, $around) = @_;
  my $begin = max(0, $around - EXCERPT_BYTES / 2);
  return "from byte $begin: nothing" if $begin >= length $bytes;
  return "from byte $begin: " . join ' ', unpack '(H2)*', substr $bytes, $begin, EXCERPT_BYTES;
}

# --------------------------------------------------------------------- Failing.

# Ends the client with 1: the server has broken the contract.
sub broken {
  my ($how) = @_;
  print STDERR "client.pl: conversation $conversation, $step\n  $how\n";
  exit 1;
}

# The contract has a line that this client does not understand.
sub unreadable {
  my ($what) = @_;
  print STDERR "client.pl: $contract $what\n";
  exit 2;
}
