# SPDX-License-Identifier: Apache-2.0
#
# Reads the output of `server --help`, and writes the flags in another form:
#
#   awk -v form=tables -f from_help.awk          for docs/flags.md
#   awk -v form=man -v version=0.2.0 -f ...      the man page brood-server(8)
#
# So the text of a flag exists once, in server/command_line/main.cc.

function complain(what) {
  print "from_help.awk: line " NR ": " what > "/dev/stderr"
  failed = 1
  exit 1
}

# Returns `text` for a cell of a table.
function cell(text) {
  gsub(/\|/, "\\|", text)
  return text
}

# Returns `text` escaped for roff, in which a backslash, a dash, and a dot or a quote at
# the beginning of a line have a special meaning.
function roff(text) {
  gsub(/\\/, "\\e", text)
  gsub(/-/, "\\-", text)
  if (text ~ /^[.']/) text = "\\&" text
  return text
}

# Writes the flag that was read last.
function end_flag() {
  if (name == "") return
  if (text == "") complain("--" name " has no text")
  if (form == "tables") {
    print "| `--" name "` | " (value == "" ? "" : "`" value "`") " | " cell(text) " |"
  } else {
    print ".TP"
    print ".B " roff("--" name (value == "" ? "" : "=" value))
    print roff(text)
  }
  name = value = text = ""
}

function begin_group(title) {
  end_flag()
  if (form == "tables") {
    print "\n## " title "\n\n| flag | default | meaning |\n|---|---|---|"
  } else {
    print ".SS " title
  }
}

BEGIN {
  if (form != "tables" && form != "man") complain("form is tables or man")
  if (form == "man") {
    print ".TH BROOD\\-SERVER 8 \"\" \"Brood " version "\" \"System Administration\""
    print ".SH NAME\nbrood\\-server \\- TCP server with a process for each connection"
    print ".SH SYNOPSIS\n.B brood\\-server\n.RI [ \\-\\-FLAG=VALUE \" ...]\""
    print ".SH DESCRIPTION"
  }
}

# The text before the flags: a line of usage, and a paragraph.
part == "" && /^usage:/ { next }
part == "" && /^Examples$/ {
  part = "Examples"
  if (form == "man") print ".SH EXAMPLES\n.nf"
  next
}
part == "Examples" && !/^[A-Z]/ {
  if (form == "man" && $0 != "") print roff(substr($0, 3))
  next
}
(part == "" || part == "Examples") && /^[A-Z][a-z ]+$/ && (before == "" || part == "Examples") {
  if (form == "man" && part == "Examples") print ".fi"
  part = "flags"
  if (form == "man") print ".SH OPTIONS"
  begin_group($0)
  next
}
part == "" {
  if (form == "man" && $0 != "") print roff($0)
  before = $0
  next
}

/^Signals$/ || /^Exit codes$/ {
  end_flag()
  part = $0
  if (form == "man") print ".SH " ($0 == "Signals" ? "SIGNALS" : "EXIT STATUS")
  next
}
part == "flags" && /^[A-Z]/ { begin_group($0); next }
part == "flags" && /^  --/ {
  end_flag()
  flags++
  name = substr($1, 3)
  if (index(name, "=") > 0) {
    value = substr(name, index(name, "=") + 1)
    name = substr(name, 1, index(name, "=") - 1)
  }
  next
}
part == "flags" && /^      / {
  sub(/^ +/, "")
  text = (text == "" ? $0 : text " " $0)
  next
}
# "  SIGTERM, SIGINT   text", and the lines that continue the text.
part == "Signals" && form == "man" && /^  SIG/ {
  split($0, halves, /   +/)
  print ".TP\n.B " roff(substr($0, 3, index($0, halves[2]) - 3))
  print roff(halves[2])
  next
}
part != "flags" && $0 != "" && form == "man" { sub(/^ +/, ""); print roff($0); next }
part == "flags" && $0 != "" { complain("this is not part of a flag: " $0) }

END {
  if (failed) exit 1
  end_flag()
  if (flags < 10) complain("only " flags " flags were found")
  if (form == "man") {
    print ".SH SEE ALSO\n.BR systemd.socket (5),\n.BR haproxy (1)"
    print ".PP\nThe pages of the directory docs in the sources."
  }
}
