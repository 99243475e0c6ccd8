#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# testing/syscalls/faults_all.sh [TEXT]
#
# Makes every call site of the parent fail with every error that its call
# documents, at several of its calls, once and permanently. Prints each site and,
# at the end, "sites covered N of N". With TEXT only sites whose names contain it:
#
#   testing/syscalls/faults_all.sh 'Listener::Accept'
#
# Takes some minutes. Fails if a site is not covered, or the server does not survive
# a fault.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
exec tools/bazel test //testing/syscalls:syscall_faults_all_test \
  --nocache_test_results --test_output=streamed --test_env=BROOD_FAULT_SITES="${1-}"
