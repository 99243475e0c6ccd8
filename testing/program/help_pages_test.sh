#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# help_pages_test.sh SERVER FROM_HELP FLAGS_PAGE MAN_PAGE
#
# The text of a flag exists once: docs/flags.md and the man page have every flag that
# `SERVER --help` prints, with its default and its text, and no other.

set -euo pipefail

server="$1" from_help="$2" flags_page="$3" man_page="$4"
failed=0
complain() {
  echo "$*" >&2
  failed=1
}

help="$("${server}" --help)"
readarray -t flags < <(sed -nE 's/^  (--[a-z_]+).*/\1/p' <<<"${help}")
((${#flags[@]} >= 20)) || complain "--help has only ${#flags[@]} flags"

# The page: between its two comments it has what the script makes of the help.
tables="$(awk -v form=tables -f "${from_help}" <<<"${help}")"
generated="$(awk '/<!-- end of what is generated/ { on = 0 } on; /<!-- generated/ { on = 1 }' "${flags_page}")"
if ! diff <(echo "${tables}") <(sed -e '${/^$/d}' <<<"${generated}") >&2; then
  complain "${flags_page} is not what --help prints: run tools/docs --fix"
fi
((${#flags[@]} == $(grep -c '^| `--' <<<"${tables}"))) || complain 'the script has lost a flag'

# The man page: an item for each flag, and no line that roff would treat as a request,
# except those that the script writes.
made="$(awk -v form=man -v version="$("${server}" --version | cut -d' ' -f2)" -f "${from_help}" <<<"${help}")"
[[ ${made} == "$(<"${man_page}")" ]] || complain "${man_page} is not what the script makes"
for flag in "${flags[@]}"; do
  grep -qF ".B ${flag//-/\\-}" "${man_page}" || complain "the man page has no ${flag}"
done
odd="$(grep "^[.']" "${man_page}" | grep -vE '^\.(TH|SH|SS|TP|PP|B|RI|BR|nf|fi)( |$)' || true)"
[[ -z ${odd} ]] || complain "the man page has odd requests: ${odd}"
for section in NAME SYNOPSIS DESCRIPTION OPTIONS SIGNALS 'EXIT STATUS'; do
  grep -qx ".SH ${section}" "${man_page}" || complain "the man page has no ${section}"
done

# The script must refuse a flag without a text, and a help without flags.
for broken in 'usage: x

Listening
  --listen=1
  --backlog=0
      text' 'nothing'; do
  if awk -v form=tables -f "${from_help}" <<<"${broken}" >/dev/null 2>&1; then
    complain "the script takes this for a help: ${broken}"
  fi
done
echo "${#flags[@]} flags"
exit "${failed}"
