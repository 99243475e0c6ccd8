// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/support/observe.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <ctime>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "brood/net/instant.h"
#include "brood/testing/internal/proc_files.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

// Ticks is an event at every `period`.
class Ticks {
 public:
  explicit Ticks(absl::Duration period)
      : fd_(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)) {
    const timespec each = absl::ToTimespec(period);
    const itimerspec ticks = {each, each};
    timerfd_settime(fd_, 0, &ticks, nullptr);
  }
  Ticks(const Ticks&) = delete;
  Ticks& operator=(const Ticks&) = delete;
  ~Ticks() { close(fd_); }

  void AwaitNext() {
    uint64_t count;
    if (TEMP_FAILURE_RETRY(read(fd_, &count, sizeof(count))) < 0) {
      ADD_FAILURE() << "read of a timerfd failed";
    }
  }

 private:
  const int fd_;
};

}  // namespace

absl::Duration CpuTimeOf(pid_t pid) {
  const absl::optional<absl::Duration> used = TryCpuTimeOf(pid);
  if (!used) ADD_FAILURE() << "no processor time of " << pid;
  return used.value_or(absl::ZeroDuration());
}

absl::optional<absl::Duration> TryCpuTimeOf(pid_t pid) {
  clockid_t clock;
  timespec used = {};
  if (clock_getcpuclockid(pid, &clock) != 0 ||
      clock_gettime(clock, &used) != 0) {
    return absl::nullopt;
  }
  return absl::DurationFromTimespec(used);
}

bool Await(absl::FunctionRef<bool()> condition, absl::Duration timeout) {
  const net::Instant deadline = net::After(net::Now(), timeout);
  Ticks ticks(absl::Milliseconds(1));
  while (!condition()) {
    if (net::Now() >= deadline) return false;
    ticks.AwaitNext();
  }
  return true;
}

void LetPass(absl::Duration length) {
  // A timer with the period zero never expires.
  if (length > absl::ZeroDuration()) Ticks(length).AwaitNext();
}

void AwaitIdle(pid_t pid) {
  const std::string file = absl::StrCat("/proc/", pid, "/syscall");
  const std::string poll = absl::StrCat(SYS_ppoll, " ");
  EXPECT_TRUE(Await([&] { return absl::StartsWith(ReadProcFile(file), poll); }))
      << DescribeProcess(pid);
}

void Freeze(pid_t pid) {
  kill(pid, SIGSTOP);
  EXPECT_TRUE(Await([&] {
    return ReadStat(absl::StrCat("/proc/", pid)).state == 'T';
  })) << DescribeProcess(pid);
}

std::vector<int> DescriptorsOf(const std::string& process) {
  std::vector<int> descriptors;
  DIR* folder = opendir(absl::StrCat("/proc/", process, "/fd").c_str());
  if (folder == nullptr) return descriptors;
  while (const dirent* entry = readdir(folder)) {
    int fd;
    if (!absl::SimpleAtoi(entry->d_name, &fd)) continue;
    if (process != "self" || fd != dirfd(folder)) descriptors.push_back(fd);
  }
  closedir(folder);
  std::sort(descriptors.begin(), descriptors.end());
  return descriptors;
}

std::string WhatIs(int fd) {
  char target[256];
  const ssize_t size = readlink(absl::StrCat("/proc/self/fd/", fd).c_str(),
                                target, sizeof(target));
  return std::string(target, static_cast<size_t>(std::max<ssize_t>(size, 0)));
}

void RaiseDescriptorLimit() {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur =
      std::max(limit.rlim_cur, std::min<rlim_t>(limit.rlim_max, 4096));
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace brood::testing
