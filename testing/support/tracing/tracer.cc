// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/tracing/tracer.h"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::testing {

Tracer::Tracer(const std::vector<pid_t>& tids) {
  int ready[2];
  EXPECT_EQ(pipe(ready), 0);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    char result = 0;
    for (const pid_t tid : tids) {
      if (ptrace(PTRACE_SEIZE, tid, nullptr, nullptr) < 0) ++result;
    }
    if (write(ready[1], &result, 1) != 1) _exit(1);
    for (;;) pause();
  }
  close(ready[1]);
  char failures = 1;
  EXPECT_EQ(read(ready[0], &failures, 1), 1);
  EXPECT_EQ(failures, 0) << "of " << tids.size() << " could not be traced";
  close(ready[0]);
}

void Tracer::LetGo() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  EXPECT_EQ(TEMP_FAILURE_RETRY(waitpid(pid_, nullptr, 0)), pid_);
  pid_ = 0;
}

void Tracer::AwaitDeath(pid_t pid) {
  EXPECT_TRUE(Await([pid] {
    std::ifstream stat(absl::StrCat("/proc/", pid, "/stat"));
    std::string text;
    std::getline(stat, text);
    const size_t name_end = text.rfind(") ");
    return name_end != std::string::npos && text[name_end + 2] == 'Z';
  }));
}

}  // namespace brood::testing
