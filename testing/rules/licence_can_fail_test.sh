#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# licence_can_fail_test.sh CHECK: tests that the check of the licences finds each error.

set -euo pipefail

check="${PWD}/$1"
cd "${TEST_TMPDIR}"
mkdir -p tools
failed=0
readonly line='SPDX-License-Identifier: Apache-2.0'

# expect VERDICT WORDS FILE TEXT: the check passes or fails for TEXT, and prints WORDS.
expect() {
  local wanted="$1" words="$2" file="$3" verdict=fails said
  printf '%b' "$4" >"${file}"
  if said="$("${check}" "${file}" 2>&1)"; then
    verdict=passes
  fi
  if [[ ${verdict} != "${wanted}" || ${said} != *"${words}"* ]]; then
    echo "line ${BASH_LINENO[0]}: it ${verdict}, and says: ${said}" >&2
    failed=1
  fi
}

expect passes '1 sources' x.cc "// ${line}\n\nint x;\n"
expect fails 'x.h does not begin with' x.h "int x;\n// ${line}\n"
expect fails 'x.cc does not begin with' x.cc ''
expect fails 'x.cc does not begin with' x.cc '// SPDX-License-Identifier: MIT\n'
expect passes '1 sources' x.sh "#!/bin/bash\n# ${line}\n"
expect fails 'x.sh does not' x.sh "#!/bin/bash\n#\n# ${line}\n"
expect passes '1 sources' BUILD "# ${line}\n"
expect fails 'BUILD does not' BUILD '# A package.\n'
expect fails 'tools/x does not' tools/x '#!/bin/bash\n'
expect fails 'script does not' script '#!/usr/bin/env python3\n'
expect fails 'no source was given' x.md '# Text\n'
exit "${failed}"
