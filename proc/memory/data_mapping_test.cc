// SPDX-License-Identifier: Apache-2.0

#include "brood/proc/memory/data_mapping.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <thread>

#include "absl/base/config.h"
#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::proc {
namespace {

class DataMappingTest : public ::brood::testing::LeakCheck {
 protected:
  void SetUp() override {
    LeakCheck::SetUp();
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
    GTEST_SKIP() << "a sanitizer reports the copying of variables as an error";
#endif
  }
};

constexpr size_t kPage = 4096;

// In the file, in both kinds of pages: changed and as they were loaded.
char with_value[4 * kPage] = {'f', 'i', 'l', 'e'};
// Empty at first.
char without_value[8 * kPage];
// Read-only after the program was relocated.
const char* const kRelocated = with_value;

// Returns the line of /proc/self/maps about the mapping that contains
// `address`.
std::string MappingOf(const void* address) {
  const auto wanted = reinterpret_cast<uintptr_t>(address);
  std::ifstream maps("/proc/self/maps");
  std::string line;
  while (std::getline(maps, line)) {
    uintptr_t begin, end;
    if (std::sscanf(line.c_str(), "%" SCNxPTR "-%" SCNxPTR " ", &begin, &end) ==
            2 &&
        begin <= wanted && wanted < end) {
      return line;
    }
  }
  return "";
}

// Returns how many pages of the mapping of `address` are in memory.
size_t PagesInMemory(const void* address) {
  const std::string mapping = MappingOf(address);
  std::ifstream smaps("/proc/self/smaps");
  std::string line;
  bool inside = false;
  while (std::getline(smaps, line)) {
    if (line == mapping) inside = true;
    size_t kilobytes;
    if (inside && std::sscanf(line.c_str(), "Rss: %zu kB", &kilobytes) == 1) {
      return kilobytes * 1024 / kPage;
    }
  }
  return 0;
}

// The first page of the empty variables may be the last one of the file.
bool InOneMapping() {
  return MappingOf(with_value) == MappingOf(without_value + 4 * kPage);
}

// In a child, because each process can join its mappings once.
template <typename Work>
int ExitCodeOf(const Work& work) {
  const pid_t pid = fork();
  if (pid == 0) _exit(work());
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(DataMappingTest, VariablesAreInOneMappingWithTheirValues) {
  EXPECT_EQ(ExitCodeOf([] {
              if (InOneMapping()) return 1;
              with_value[3 * kPage] = 'd';
              without_value[kPage] = 'b';
              if (!JoinDataMappings().ok()) return 9;
              if (!InOneMapping()) return 2;
              if (absl::StrContains(MappingOf(with_value), "/")) return 3;
              if (std::string(with_value) != "file") return 4;
              if (with_value[3 * kPage] != 'd') return 5;
              if (without_value[kPage] != 'b') return 6;
              if (without_value[2 * kPage] != 0) return 7;
              return 0;
            }),
            0);
}

TEST_F(DataMappingTest, VariablesCanBeWrittenByParentAndChild) {
  EXPECT_EQ(ExitCodeOf([] {
              if (!JoinDataMappings().ok()) return 9;
              with_value[0] = 'F';
              const int of_child = ExitCodeOf([] {
                with_value[1] = 'I';
                without_value[0] = 'c';
                return std::string(with_value) == "FIle" ? 7 : 8;
              });
              if (of_child != 7) return 1;
              return std::string(with_value) == "File" && without_value[0] == 0
                         ? 0
                         : 2;
            }),
            0);
}

TEST_F(DataMappingTest, RelocatedDataStaysReadOnly) {
  EXPECT_EQ(ExitCodeOf([] {
              const std::string before = MappingOf(&kRelocated);
              if (!JoinDataMappings().ok()) return 9;
              if (!absl::StrContains(before, " r--p ")) return 1;
              return MappingOf(&kRelocated) == before ? 0 : 2;
            }),
            0);
}

// A fork copies an entry for each page in memory.
TEST_F(DataMappingTest, EmptyPagesStayOutOfMemory) {
  EXPECT_EQ(ExitCodeOf([] {
              if (!JoinDataMappings().ok()) return 9;
              const size_t before = PagesInMemory(without_value);
              for (size_t i = 0; i < sizeof(without_value); i += kPage) {
                without_value[i] = 1;
              }
              const size_t added = PagesInMemory(without_value) - before;
              return added + 1 >= sizeof(without_value) / kPage ? 0 : 1;
            }),
            0);
}

TEST_F(DataMappingTest, SecondCallChangesNothing) {
  EXPECT_EQ(
      ExitCodeOf([] {
        if (!JoinDataMappings().ok()) return 9;
        const std::string once = MappingOf(with_value);
        without_value[0] = 'x';
        if (!JoinDataMappings().ok()) return 8;
        return MappingOf(with_value) == once && without_value[0] == 'x' ? 0 : 1;
      }),
      0);
}

TEST_F(DataMappingTest, WithoutMemoryNothingChangesAndTheErrorNamesTheCall) {
  EXPECT_EQ(ExitCodeOf([] {
              rlimit limit;
              getrlimit(RLIMIT_AS, &limit);
              const rlimit none = {kPage, limit.rlim_max};
              if (setrlimit(RLIMIT_AS, &none) < 0) return 1;
              const absl::Status joined = JoinDataMappings();
              if (setrlimit(RLIMIT_AS, &limit) < 0) return 2;
              if (!absl::StrContains(joined.message(), "mmap")) return 3;
              if (InOneMapping()) return 4;
              // It can be tried again.
              return JoinDataMappings().ok() && InOneMapping() ? 0 : 5;
            }),
            0);
}

TEST_F(DataMappingTest, NothingIsMovedBesideAThread) {
  EXPECT_EQ(ExitCodeOf([] {
              std::thread other([] {});
              const absl::Status joined = JoinDataMappings();
              other.join();
              if (!absl::IsFailedPrecondition(joined)) return 1;
              return InOneMapping() ? 2 : 0;
            }),
            0);
}

}  // namespace
}  // namespace brood::proc
