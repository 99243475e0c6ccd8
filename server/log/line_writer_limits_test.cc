// SPDX-License-Identifier: Apache-2.0

// What a LineWriter does when its file may not grow (ulimit -f).

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <string>

#include "brood/server/log/line_writer.h"
#include "brood/testing/leak_check.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

// Files of this process have 16 bytes at most. A signal that is not blocked
// would end the test.
class LineWriterLimitsTest : public ::brood::testing::LeakCheck {
 protected:
  LineWriterLimitsTest() {
    fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    EXPECT_GE(fd_, 0);
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit = {16, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~LineWriterLimitsTest() override {
    setrlimit(RLIMIT_FSIZE, &before_);
    close(fd_);
    unlink(path_.c_str());
  }

  const std::string path_ = ::testing::TempDir() + "/log";
  int fd_ = -1;
  rlimit before_ = {};
};

TEST_F(LineWriterLimitsTest, DropsWhatAFullFileCannotTake) {
  LineWriter writer(fd_);
  EXPECT_TRUE(writer.Write("fifteen bytes!\n"));
  EXPECT_FALSE(writer.Write("a part of it\n"));
  EXPECT_FALSE(writer.Write("nothing of it\n"));
  EXPECT_EQ(ftruncate(fd_, 0), 0);
  EXPECT_EQ(lseek(fd_, 0, SEEK_SET), 0);
  EXPECT_TRUE(writer.Write("there is room\n")) << "after a rotation";
}

TEST_F(LineWriterLimitsTest, LeavesASignalThatWasPending) {
  sigset_t one, before;
  sigemptyset(&one);
  sigaddset(&one, SIGXFSZ);
  sigprocmask(SIG_BLOCK, &one, &before);
  raise(SIGXFSZ);
  LineWriter writer(fd_);
  EXPECT_TRUE(writer.Write("fifteen bytes!\n"));
  writer.Write("x\n");
  EXPECT_FALSE(writer.Write("nothing of it\n"));
  const timespec at_once = {0, 0};
  EXPECT_EQ(sigtimedwait(&one, nullptr, &at_once), SIGXFSZ) << "not ours";
  EXPECT_LT(sigtimedwait(&one, nullptr, &at_once), 0);
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace
}  // namespace brood::server
