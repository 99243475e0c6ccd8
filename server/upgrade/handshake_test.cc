// SPDX-License-Identifier: Apache-2.0

#include "brood/server/upgrade/handshake.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "brood/proc/program.h"
#include "brood/proc/reaper.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/upgrade/generation_link.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/reaper_harness.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ReaperHarness;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

class HandshakeTest : public ::brood::testing::LeakCheck {
 protected:
  // Runs `body` in a process that has nothing open above its standard
  // descriptors but `fds`, as a program that was started with them.
  int RunWith(int fds, const std::function<int()>& body) {
    ReaperHarness harness(proc::Reaper::Ownership::kOursAlone);
    harness.SpawnZombie([&] {
      for (int fd = 3; fd < 100; ++fd) close(fd);
      for (int i = 0; i < fds; ++i) eventfd(0, EFD_NONBLOCK);
      return body();
    });
    return harness.AwaitEnded(1)[0].status.code();
  }
};

TEST_F(HandshakeTest, SendsDescriptorsAndOneVariable) {
  setenv("BROOD_UPGRADE", "of an earlier one", 1);
  setenv("BROOD_MAIN_PROCESS", "9", 1);
  const proc::Program program = Handshake::MakeProgram(
      {"/program", "--flag"}, "/run/notify",
      Handshake::MakeOffer(7, {{8, "127.0.0.1:0"}, {9, "unix:/run/x"}}));
  unsetenv("BROOD_MAIN_PROCESS");
  unsetenv("BROOD_UPGRADE");
  EXPECT_THAT(program.fds, ElementsAre(7, 8, 9));
  EXPECT_THAT(program.environment,
              AllOf(Contains("BROOD_UPGRADE=127.0.0.1:0\nunix:/run/x\n"),
                    Contains("NOTIFY_SOCKET=/run/notify"),
                    Not(Contains("BROOD_UPGRADE=of an earlier one")),
                    Not(Contains("BROOD_MAIN_PROCESS=9")),
                    Not(Contains(StartsWith("BROOD_OLDER=")))));
  EXPECT_EQ(program.path, "/program");
  EXPECT_THAT(program.arguments, ElementsAre("/program", "--flag"));
  EXPECT_THAT(program.blocked_signals, ElementsAre(SIGHUP, SIGUSR2))
      << "until it has handlers";
}

TEST_F(HandshakeTest, AddsALinkAfterTheListeners) {
  proc::Program program =
      Handshake::MakeProgram({"/program"}, "", Handshake::MakeOffer(7, {}));
  EXPECT_THAT(program.environment, Not(Contains(StartsWith("NOTIFY_SOCKET="))));
  Handshake::AddLink(8, &program);
  EXPECT_THAT(program.fds, ElementsAre(7, 8));
  EXPECT_THAT(program.environment, Contains("BROOD_MAIN_PROCESS=4"));
  EXPECT_EQ(RunWith(/*fds=*/2,
                    [] {
                      setenv("BROOD_UPGRADE", "", 1);
                      setenv("BROOD_MAIN_PROCESS", "4", 1);
                      auto received = Handshake::Receive();
                      if (!received.ok()) return 1;
                      if (getenv("BROOD_MAIN_PROCESS") != nullptr) return 2;
                      if ((fcntl(4, F_GETFD) & FD_CLOEXEC) == 0) return 3;
                      const GenerationLink link = received->TakeLink();
                      if (link.fd() != 4) return 4;
                      return received->TakeLink().closed() ? 0 : 5;
                    }),
            0);
}

TEST_F(HandshakeTest, PassesThePidfdsOfOlderProgramsOn) {
  proc::Program program =
      Handshake::MakeProgram({"/program"}, "", Handshake::MakeOffer(7, {}));
  Handshake::AddOlder({}, &program);
  EXPECT_THAT(program.environment, Not(Contains(StartsWith("BROOD_OLDER="))));
  Handshake::AddOlder({8, 9}, &program);
  EXPECT_THAT(program.fds, ElementsAre(7, 8, 9));
  EXPECT_THAT(program.environment, Contains("BROOD_OLDER=4,5"));
  EXPECT_EQ(RunWith(/*fds=*/3,
                    [] {
                      setenv("BROOD_UPGRADE", "", 1);
                      setenv("BROOD_OLDER", "4,5", 1);
                      auto received = Handshake::Receive();
                      if (!received.ok()) return 1;
                      if (getenv("BROOD_OLDER") != nullptr) return 2;
                      const auto older = received->TakeOlder();
                      if (older.size() != 2 || older[1].fd() != 5) return 3;
                      if (!received->TakeOlder().empty()) return 4;
                      return received->TakeLink().closed() ? 0 : 5;
                    }),
            0);
}

TEST_F(HandshakeTest, RefusesALinkThatItWasNotGiven) {
  for (const char* value : {"", "x", "-1", "2", "4x", "50", "99999999999"}) {
    EXPECT_EQ(RunWith(/*fds=*/2,
                      [&] {
                        setenv("BROOD_UPGRADE", "", 1);
                        setenv("BROOD_MAIN_PROCESS", value, 1);
                        return absl::StartsWith(
                                   Handshake::Receive().status().message(),
                                   "BROOD_MAIN_PROCESS")
                                   ? 0
                                   : 1;
                      }),
              0)
        << value;
  }
}

TEST_F(HandshakeTest, ReceivesNothingInAProgramThatWasStartedInAnotherWay) {
  EXPECT_FALSE(Handshake::IsPending());
  auto received = Handshake::Receive();
  ASSERT_THAT(received, IsOk());
  EXPECT_THAT(received->TakeListeners(), IsEmpty());
  received->ReportReady();  // to no program
}

TEST_F(HandshakeTest, ReceivesListenersAndReportsReadiness) {
  EXPECT_EQ(RunWith(/*fds=*/3,
                    [] {
                      setenv("BROOD_UPGRADE", "one\ntwo\n", 1);
                      auto received = Handshake::Receive();
                      if (!received.ok()) return 1;
                      if (Handshake::IsPending())
                        return 2;  // so it would be in children
                      const std::vector<InheritedListener> listeners =
                          received->TakeListeners();
                      if (listeners.size() != 2 ||
                          listeners[0].socket.fd() != 4 ||
                          listeners[1].entry != "two") {
                        return 3;
                      }
                      for (int fd : {3, 4, 5}) {
                        if ((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0) return 4;
                      }
                      const int copy = dup(3);
                      received->ReportReady();
                      eventfd_t count = 0;
                      if (eventfd_read(copy, &count) < 0 || count != 1)
                        return 5;
                      received = Handshake();
                      return fcntl(3, F_GETFD) < 0 ? 0 : 6;
                    }),
            0);
}

TEST_F(HandshakeTest, PassesOnWhichListenersEndWithTheServer) {
  const proc::Program program = Handshake::MakeProgram(
      {"/program"}, "",
      Handshake::MakeOffer(7, {{8, "one", true}, {9, "two", false}}));
  const std::string variable = "BROOD_UPGRADE=one\tbound\ntwo\n";
  EXPECT_THAT(program.environment, Contains(variable));
  EXPECT_EQ(RunWith(/*fds=*/3,
                    [&] {
                      setenv("BROOD_UPGRADE",
                             variable.c_str() + variable.find('=') + 1, 1);
                      auto received = Handshake::Receive();
                      if (!received.ok()) return 1;
                      const auto listeners = received->TakeListeners();
                      if (listeners[0].entry != "one") return 2;
                      if (!listeners[0].ends_with_server) return 3;
                      if (listeners[1].entry != "two") return 4;
                      return listeners[1].ends_with_server ? 5 : 0;
                    }),
            0);
}

TEST_F(HandshakeTest, KnowsWhenTheOldProgramHasClosedTheListeners) {
  EXPECT_TRUE(Handshake().IsSoleHolder());
  EXPECT_EQ(RunWith(/*fds=*/2,
                    [] {
                      setenv("BROOD_UPGRADE", "one\n", 1);
                      auto received = Handshake::Receive();
                      if (!received.ok()) return 1;
                      if (received->IsSoleHolder()) return 2;
                      received->ReportReady();
                      if (received->IsSoleHolder()) return 3;
                      eventfd_t count = 0;
                      if (eventfd_read(3, &count) < 0 || count != 1) return 4;
                      eventfd_write(3, Handshake::kReleased);
                      if (!received->IsSoleHolder()) return 5;
                      return received->IsSoleHolder() ? 0 : 6;
                    }),
            0);
}

TEST_F(HandshakeTest, FailsIfADescriptorIsMissing) {
  EXPECT_EQ(RunWith(/*fds=*/2,
                    [] {
                      setenv("BROOD_UPGRADE", "one\ntwo\n", 1);
                      const auto received = Handshake::Receive();
                      if (!absl::IsInvalidArgument(received.status())) return 1;
                      const std::string message(received.status().message());
                      if (!absl::StrContains(message, "BROOD_UPGRADE"))
                        return 2;
                      if (!absl::StrContains(message, "descriptor 5")) return 3;
                      return fcntl(3, F_GETFD) < 0 && fcntl(4, F_GETFD) < 0 ? 0
                                                                            : 4;
                    }),
            0)
      << "or what there is stays open";
}

}  // namespace
}  // namespace brood::server
