// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/journal.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

class JournalTest : public ::brood::testing::LeakCheck {
 protected:
  JournalTest() {
    EXPECT_EQ(pipe(pipe_), 0);
    struct stat file;
    EXPECT_EQ(fstat(pipe_[1], &file), 0);
    name_ = absl::StrCat(file.st_dev, ":", file.st_ino);
  }
  ~JournalTest() override {
    unsetenv("JOURNAL_STREAM");
    for (const int fd : pipe_) close(fd);
  }

  int pipe_[2];
  std::string name_;
};

TEST_F(JournalTest, IsNotPresumedWithoutTheVariable) {
  unsetenv("JOURNAL_STREAM");
  EXPECT_FALSE(IsJournal(pipe_[1]));
}

TEST_F(JournalTest, IsTheStreamThatTheVariableNames) {
  setenv("JOURNAL_STREAM", name_.c_str(), 1);
  EXPECT_TRUE(IsJournal(pipe_[1]));
}

// The variable is inherited by programs whose standard error is another file.
TEST_F(JournalTest, IsNoOtherStream) {
  for (const std::string& other :
       {std::string(), std::string(":"), std::string("0:0"), name_ + "1",
        "1" + name_, name_ + ":1"}) {
    setenv("JOURNAL_STREAM", other.c_str(), 1);
    EXPECT_FALSE(IsJournal(pipe_[1])) << other;
  }
}

TEST_F(JournalTest, IsNoClosedDescriptor) {
  setenv("JOURNAL_STREAM", name_.c_str(), 1);
  EXPECT_FALSE(IsJournal(-1));
}

}  // namespace
}  // namespace brood::server
