// SPDX-License-Identifier: Apache-2.0

#include "brood/server/exec/program_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::testing::StartsWith;

class FindProgramTest : public ::testing::Test {
 protected:
  FindProgramTest() : directory_(::testing::TempDir()) {
    if (directory_.back() == '/') directory_.pop_back();
    absl::StrAppend(&directory_, "/find_program.XXXXXX");
    EXPECT_NE(mkdtemp(directory_.data()), nullptr);
    Make("first/plain", 0644);
    Make("first/both", 0644);
    Make("second/both", 0755);
    Make("second/tool", 0755);
    EXPECT_EQ(mkdir(Path("first/tool").c_str(), 0755), 0);
    path_ = absl::StrCat(Path("none"), ":", Path("first"), ":", Path("second"));
  }

  std::string Path(absl::string_view name) const {
    return absl::StrCat(directory_, "/", name);
  }

  void Make(const std::string& name, mode_t mode) {
    mkdir(Path(name.substr(0, name.find('/'))).c_str(), 0755);
    std::ofstream(Path(name)) << "#!/bin/sh\n";
    EXPECT_EQ(chmod(Path(name).c_str(), mode), 0);
  }

  std::string directory_;
  std::string path_;
};

TEST_F(FindProgramTest, LooksThroughThePathForAFileThatCanBeExecuted) {
  EXPECT_THAT(FindProgram("tool", path_), IsOkAndHolds(Path("second/tool")))
      << "first/tool is a directory";
  EXPECT_THAT(FindProgram("both", path_), IsOkAndHolds(Path("second/both")))
      << "first/both cannot be executed";
}

TEST_F(FindProgramTest, TreatsANameWithASlashAsAPath) {
  EXPECT_THAT(FindProgram(Path("second/tool"), ""),
              IsOkAndHolds(Path("second/tool")));
  ASSERT_EQ(chdir(directory_.c_str()), 0);
  EXPECT_THAT(FindProgram("second/tool", path_),
              IsOkAndHolds(Path("second/tool")));
  EXPECT_THAT(FindProgram("./second/tool", path_),
              IsOkAndHolds(Path("./second/tool")));
}

// An empty entry of PATH, as a shell understands it.
TEST_F(FindProgramTest, LooksInTheWorkingDirectoryForAnEmptyEntry) {
  ASSERT_EQ(chdir(Path("second").c_str()), 0);
  EXPECT_THAT(FindProgram("tool", ""), IsOkAndHolds(Path("second/tool")));
  EXPECT_THAT(FindProgram("tool", "/no/such:"),
              IsOkAndHolds(Path("second/tool")));
}

TEST_F(FindProgramTest, NamesAProgramThatItCannotFind) {
  const struct {
    std::string name;
    absl::StatusCode code;
  } kRefused[] = {
      {"no-such-program", absl::StatusCode::kNotFound},
      {"plain", absl::StatusCode::kPermissionDenied},
      {Path("first/plain"), absl::StatusCode::kPermissionDenied},
      {Path("first/none"), absl::StatusCode::kNotFound},
      {Path("first/plain/x"), absl::StatusCode::kFailedPrecondition},
      {Path("first"), absl::StatusCode::kFailedPrecondition},
      {"/dev/null", absl::StatusCode::kPermissionDenied},
      {"", absl::StatusCode::kNotFound},
  };
  for (const auto& refused : kRefused) {
    EXPECT_THAT(FindProgram(refused.name, path_),
                StatusIs(refused.code, StartsWith(absl::StrCat(
                                           "program=", refused.name, ": "))))
        << refused.name;
  }
}

}  // namespace
}  // namespace brood::server
