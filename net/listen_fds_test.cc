// SPDX-License-Identifier: Apache-2.0

#include "brood/net/listen_fds.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/types/optional.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::IsEmpty;
using ::testing::Property;
using ::testing::StartsWith;

// The variables that the process finds; "PID" stands for its own number.
struct Environment {
  absl::optional<std::string> pid, fds, names;
};

bool IsOpen(int fd) { return fcntl(fd, F_GETFD) >= 0; }

// Runs `body` in a process that has descriptors from 3 on, as many as `open`.
void InProgramWith(const Environment& environment, int open,
                   const std::function<void()>& body) {
  std::fflush(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    syscall(SYS_close_range, 3, ~0U, 0);
    for (int fd = 3; fd < 3 + open; ++fd) {
      EXPECT_EQ(socket(AF_INET, SOCK_STREAM, 0), fd);
    }
    const auto set = [](const char* name,
                        const absl::optional<std::string>& value) {
      if (!value) return;
      setenv(name,
             *value == "PID" ? absl::StrCat(getpid()).c_str() : value->c_str(),
             1);
    };
    set("LISTEN_PID", environment.pid);
    set("LISTEN_FDS", environment.fds);
    set("LISTEN_FDNAMES", environment.names);
    set("LISTEN_PIDFDID", "1");
    body();
    for (const char* name :
         {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"}) {
      EXPECT_EQ(getenv(name), nullptr) << name << " is left for children";
    }
    std::fflush(nullptr);
    _exit(::testing::Test::HasFailure() ? 1 : 0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  EXPECT_EQ(status, 0) << "see above";
}

class InheritedSocketsTest : public ::brood::testing::LeakCheck {};

TEST_F(InheritedSocketsTest, StartAtDescriptorThreeAndAreCloseOnExec) {
  InProgramWith({"PID", "2", "http:admin"}, 3, [] {
    const auto sockets = TakeInheritedSockets();
    ASSERT_THAT(
        sockets,
        IsOkAndHolds(ElementsAre(
            AllOf(Field(&InheritedSocket::socket, Property(&Socket::fd, 3)),
                  Field(&InheritedSocket::name, "http")),
            AllOf(Field(&InheritedSocket::socket, Property(&Socket::fd, 4)),
                  Field(&InheritedSocket::name, "admin")))));
    EXPECT_EQ(fcntl(3, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(fcntl(4, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(fcntl(5, F_GETFD), 0) << "not one of the inherited sockets";
  });
}

TEST_F(InheritedSocketsTest, NeedNoNames) {
  InProgramWith({"PID", "1", absl::nullopt}, 1, [] {
    EXPECT_THAT(TakeInheritedSockets(),
                IsOkAndHolds(ElementsAre(Field(&InheritedSocket::name, ""))));
  });
}

TEST_F(InheritedSocketsTest, AreTakenOnce) {
  InProgramWith({"PID", "1", absl::nullopt}, 1, [] {
    EXPECT_THAT(TakeInheritedSockets(), IsOk());
    EXPECT_THAT(TakeInheritedSockets(), IsOkAndHolds(IsEmpty()));
  });
}

// As in sd_listen_fds(3): no error, and nothing changes but the variables. The
// caller gets the reason (O19). Tested: variables for another process, for the
// parent of this one, of a shell between the manager and this program, and each
// incomplete set of variables.
TEST_F(InheritedSocketsTest, AreEmptyWithAReasonIfForAnotherProcess) {
  const std::string parent = absl::StrCat(getpid());
  const struct {
    Environment environment;
    std::string why;
  } kIgnored[] = {
      {{absl::nullopt, "1", "x"}, "LISTEN_FDS is set, and LISTEN_PID is not"},
      {{absl::nullopt, "1", absl::nullopt},
       "LISTEN_FDS is set, and LISTEN_PID is not"},
      {{absl::nullopt, absl::nullopt, "x"},
       "LISTEN_FDNAMES is set, and LISTEN_PID is not"},
      {{"1", "1", "x"}, "LISTEN_PID=1 is not this process, which is PID; "},
      {{"1", absl::nullopt, absl::nullopt}, "LISTEN_PID=1 is not this process"},
      {{parent, "1", absl::nullopt},
       absl::StrCat("LISTEN_PID=", parent, " is not this process")},
      {{"2147483647", "nonsense", "x:y:z"},
       "LISTEN_PID=2147483647 is not this process"},
      {{"PID", absl::nullopt, "x"}, "LISTEN_PID is set, and LISTEN_FDS is not"},
      {{"PID", absl::nullopt, absl::nullopt},
       "LISTEN_PID is set, and LISTEN_FDS is not"},
      {{"PID", "0", absl::nullopt}, "LISTEN_FDS=0: there is no descriptor"},
      {{"PID", "0", ""}, "LISTEN_FDS=0: there is no descriptor"},
  };
  for (const auto& [environment, why] : kIgnored) {
    InProgramWith(environment, 1, [&why = why] {
      std::string ignored;
      EXPECT_THAT(TakeInheritedSockets(&ignored), IsOkAndHolds(IsEmpty()));
      EXPECT_THAT(ignored, StartsWith(absl::StrReplaceAll(
                               why, {{"PID;", absl::StrCat(getpid(), ";")}})));
      EXPECT_EQ(fcntl(3, F_GETFD), 0);
    });
  }
}

TEST_F(InheritedSocketsTest, AreEmptyWithoutAServiceManager) {
  InProgramWith({}, 1, [] {
    std::string ignored;
    EXPECT_THAT(TakeInheritedSockets(&ignored), IsOkAndHolds(IsEmpty()));
    EXPECT_EQ(ignored, "");
  });
}

// R47.
TEST_F(InheritedSocketsTest, AreAnErrorIfAVariableIsMalformed) {
  const struct {
    Environment environment;
    const char* what;
    bool known = false;  // which descriptors were meant: they are closed
  } kWrong[] = {
      {{"", "1", absl::nullopt}, "LISTEN_PID=: must be the number"},
      {{"self", "1", absl::nullopt}, "LISTEN_PID=self: must be the number"},
      {{"-1", "1", absl::nullopt}, "LISTEN_PID=-1: must be the number"},
      {{"0", "1", absl::nullopt}, "LISTEN_PID=0: must be the number"},
      {{"99999999999", "1", absl::nullopt}, "LISTEN_PID=99999999999: must be"},
      {{"PID", "", absl::nullopt}, "LISTEN_FDS=: must be a number"},
      {{"PID", "one", absl::nullopt}, "LISTEN_FDS=one: must be a number"},
      {{"PID", "00", absl::nullopt}, "LISTEN_FDS=00: must be a number"},
      {{"PID", "-1", absl::nullopt}, "LISTEN_FDS=-1: must be a number"},
      {{"PID", " 1", absl::nullopt}, "LISTEN_FDS= 1: must be a number"},
      {{"PID", "2147483647", absl::nullopt}, "LISTEN_FDS=2147483647: must be"},
      {{"PID", "3", absl::nullopt},
       "LISTEN_FDS=3: descriptor 5 is not open",
       true},
      {{"PID", "2", "one"}, "LISTEN_FDNAMES=one: must be the names of 2", true},
      {{"PID", "2", "a:b:c"},
       "LISTEN_FDNAMES=a:b:c: must be the names of 2",
       true},
      {{"PID", "2", ""}, "LISTEN_FDNAMES=: must be the names of 2", true},
  };
  for (const auto& wrong : kWrong) {
    InProgramWith(wrong.environment, 2, [&] {
      EXPECT_THAT(
          TakeInheritedSockets(),
          StatusIs(absl::StatusCode::kInvalidArgument, StartsWith(wrong.what)));
      EXPECT_EQ(IsOpen(3), !wrong.known);
      EXPECT_EQ(IsOpen(4), !wrong.known);
    });
  }
}

}  // namespace
}  // namespace brood::net
