# SPDX-License-Identifier: Apache-2.0
#
# Reads docs/decisions/README.md and then the pages beside it, and prints the README with
# the list of the decisions in the pages: in its order of pages, new pages at the end.
# Fails, with the reason, if a page or a decision does not have the form that the README
# describes:
#
#   # Decisions: topic
#   ## A decision
#   *date...*
#   **Decision.** ...       (or **Measurement.**, or a table of figures)
#
# A page may also be one decision, without the second line.

function complain(what) {
  print what > "/dev/stderr"
  failed = 1
}
function end_decision() {
  if (decision == "") return
  if (!dated) complain(page ": \"" decision "\" has no date in its first line")
  if (!decided) complain(page ": \"" decision "\" has neither **Decision.** nor **Measurement.** nor a table")
  decision = ""
}

FNR == 1 {
  end_decision()
  code = 0
  page = FILENAME
  sub(/.*\//, "", page)
}
/^```/ { code = !code }
code { next }

page == "README.md" {
  if (/^## \[/) {
    listed = $0
    sub(/^.*\(/, "", listed)
    sub(/\).*$/, "", listed)
    title[listed] = $0
    order[++pages] = listed
  } else if (pages == 0) {
    head = head $0 "\n"
  }
  next
}

/^# / {
  there[page] = 1
  if (!(page in title)) {
    name = $0
    sub(/^# Decisions: */, "", name)
    title[page] = "## [" toupper(substr(name, 1, 1)) substr(name, 2) "](" page ")"
    order[++pages] = page
  }
  if ($0 !~ /^# Decisions: [a-z]/ && $0 !~ /^# Decisions: TLS/) complain(page ": its first line is not \"# Decisions: topic\"")
  next
}
/^## / {
  end_decision()
  decision = substr($0, 4)
  dated = decided = 0
  line = FNR
  decisions[page] = decisions[page] "- " decision "\n"
  next
}
decision != "" && FNR <= line + 2 && /^\*20[0-9][0-9]-[01][0-9]-[0-3][0-9]/ { dated = 1 }
/^\*\*Decision\./ { whole[page] = 1 }
decision != "" && /^(\*\*(Decision|Measurement)\.|\|)/ { decided = 1 }

END {
  end_decision()
  printf "%s", head
  for (i = 1; i <= pages; ++i) {
    page = order[i]
    if (!(page in there)) complain("README.md: there is no " page)
    if (decisions[page] == "" && !(page in whole)) complain(page ": it has no decision")
    printf "%s\n", title[page]
    if (decisions[page] != "") printf "\n%s", decisions[page]
    if (i < pages) print ""
  }
  exit failed
}
