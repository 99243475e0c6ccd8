#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# testing/endurance/soak.sh [CONNECTIONS [STRATEGY]]
#
# The server as it ships serves CONNECTIONS connections, a million by default. No client
# may fail, and after the first tenth the server must have the same descriptors and at most
# 64 KiB more memory. Prints a table. Takes minutes for each 100 000.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec tools/bazel test --config=opt //testing/endurance:soak_test \
  --nocache_test_results --test_output=streamed \
  --test_env=SOAK_CONNECTIONS="${1-1000000}" --test_env=SOAK_STRATEGY="${2-fork}"
