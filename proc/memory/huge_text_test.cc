// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/memory/huge_text.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

// Makes the tables for exceptions, which the linker puts at the end of the
// segment, larger than a huge page. The label is their last byte.
asm(".pushsection .gcc_except_table, \"a\", @progbits\n"
    ".skip 0x400000\n"
    "brood_end_of_tables: .byte 1\n"
    ".popsection");
extern "C" const char brood_end_of_tables __attribute__((visibility("hidden")));

namespace brood::proc {
namespace {

using HugeTextTest = ::brood::testing::LeakCheck;

// Returns the lines of /proc/self/smaps about the mapping that contains
// `address`.
std::string MappingOf(const void* address) {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  std::ifstream smaps("/proc/self/smaps");
  std::string line, mapping;
  bool inside = false;
  while (std::getline(smaps, line)) {
    uintptr_t begin, end;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) ==
        2) {
      inside = begin <= wanted && wanted < end;
    }
    if (inside) absl::StrAppend(&mapping, line, "\n");
  }
  return mapping;
}

const void* AddressOfCode() {
  return reinterpret_cast<const void*>(&MoveTextToHugePages);
}

// A kernel may have no huge pages available; then nothing may have changed.
TEST_F(HugeTextTest, CodeIsOnHugePagesOrWhereItWas) {
  const std::string before = MappingOf(AddressOfCode());
  const absl::Status moved = MoveTextToHugePages();
  const std::string after = MappingOf(AddressOfCode());
  if (!moved.ok()) {
    EXPECT_EQ(moved.code() == absl::StatusCode::kFailedPrecondition, false)
        << "this test is linked as the header requires: " << moved;
    EXPECT_EQ(after.substr(0, after.find('\n')),
              before.substr(0, before.find('\n')));
    GTEST_SKIP() << "no huge pages on this machine: " << moved;
  }
  EXPECT_TRUE(absl::StrContains(after, "r-xp")) << after;
  EXPECT_FALSE(absl::StrContains(after, "AnonHugePages:         0 kB"))
      << after;
}

// A fork makes an entry for each huge page of this process.
TEST_F(HugeTextTest, TablesForExceptionsStayInTheFile) {
  if (!MoveTextToHugePages().ok()) GTEST_SKIP() << "see the test above";
  const std::string tables = MappingOf(&brood_end_of_tables);
  EXPECT_TRUE(absl::StrContains(tables, "huge_text_test")) << tables;
  EXPECT_EQ(brood_end_of_tables, 1);
  EXPECT_FALSE(absl::StrContains(MappingOf(AddressOfCode()), "huge_text_test"));
}

TEST_F(HugeTextTest, ExceptionsAndChildrenStillWork) {
  MoveTextToHugePages().IgnoreError();
  EXPECT_THROW(throw std::runtime_error("through frames of moved code"),
               std::runtime_error);
  const pid_t pid = fork();
  if (pid == 0) _exit(MappingOf(AddressOfCode()).empty() ? 1 : 7);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(WEXITSTATUS(status), 7);
}

TEST_F(HugeTextTest, SecondMoveHasNoEffect) {
  MoveTextToHugePages().IgnoreError();
  const std::string once = MappingOf(AddressOfCode());
  MoveTextToHugePages().IgnoreError();
  EXPECT_EQ(MappingOf(AddressOfCode()), once);
}

}  // namespace
}  // namespace brood::proc
