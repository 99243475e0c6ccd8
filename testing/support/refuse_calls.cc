// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/refuse_calls.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace brood::testing {
namespace {

uint32_t Error(int error) {
  return SECCOMP_RET_ERRNO | static_cast<uint32_t>(error);
}

void Install(std::vector<sock_filter>* program) {
  const sock_fprog filter = {static_cast<unsigned short>(program->size()),
                             program->data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0) {
    std::perror("prctl PR_SET_SECCOMP");
    std::abort();
  }
}

}  // namespace

void RefuseCalls(const std::vector<int>& calls, int error) {
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  for (int call : calls) {
    program.push_back(
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(call), 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, Error(error)));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
  Install(&program);
}

void RefuseArgument(const RefusedArgument& refused) {
  const auto argument = static_cast<uint32_t>(
      offsetof(seccomp_data, args) +
      static_cast<size_t>(refused.index) * sizeof(uint64_t));
  std::vector<sock_filter> program = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(refused.call),
               0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, argument),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, refused.mask),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, refused.value,
               static_cast<uint8_t>(refused.if_equal ? 0 : 1),
               static_cast<uint8_t>(refused.if_equal ? 1 : 0)),
      BPF_STMT(BPF_RET | BPF_K, Error(refused.error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  Install(&program);
}

}  // namespace brood::testing
