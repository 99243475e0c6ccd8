// SPDX-License-Identifier: Apache-2.0
//
// O22. The program on a machine that forbids AF_NETLINK, as
// RestrictAddressFamilies= of systemd does.

#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "brood/testing/support/refuse_calls.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// Runs the program with `flag` until it ends. Returns its exit code and stores
// what it wrote to standard error.
int RunProgram(const std::string& flag, std::string* error) {
  int fds[2];
  EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    dup2(fds[1], STDERR_FILENO);
    RefuseArgument({SYS_socket, 0, ~0U, AF_NETLINK, true, EAFNOSUPPORT});
    execl("server/server", "server", "--listen=127.0.0.1:0", flag.c_str(),
          static_cast<char*>(nullptr));
    _exit(127);
  }
  close(fds[1]);
  char bytes[1024];
  for (ssize_t got; (got = read(fds[0], bytes, sizeof(bytes))) > 0;) {
    error->append(bytes, static_cast<size_t>(got));
  }
  close(fds[0]);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, 0), pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(ForbiddenNetlinkTest, NamesTheFlagAndTheRemedy) {
  for (const char* flag : {"--idle_timeout=5s", "--first_byte_timeout=5s"}) {
    std::string error;
    EXPECT_EQ(RunProgram(flag, &error), 111);
    EXPECT_THAT(error, AllOf(HasSubstr(flag), HasSubstr("--connection_timeout"),
                             HasSubstr("AF_NETLINK (systemd: "
                                       "RestrictAddressFamilies=)")));
  }
}

}  // namespace
}  // namespace brood::testing
