// SPDX-License-Identifier: Apache-2.0

#include "brood/server/control/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/fake_service_manager.h"
#include "brood/testing/support/short_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::FakeServiceManager;
using ::brood::testing::IsOk;
using ::brood::testing::ShortDir;
using ::brood::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// The notification was sent before, so NextWord() need not wait.
const absl::Duration kNow = absl::ZeroDuration();

class ServiceManagerTest : public ::brood::testing::LeakCheck {
 protected:
  ServiceManagerTest() : manager_(dir_.Socket("notify")) {}

  std::unique_ptr<ServiceManager> Create() {
    auto created = ServiceManager::Create(dir_.File("notify"), &log_);
    EXPECT_THAT(created, IsOk());
    return *std::move(created);
  }

  const ShortDir dir_;
  FakeServiceManager manager_;
  EventLog log_{LogLevel::kWarning};
};

TEST_F(ServiceManagerTest, SendsEachNotificationAsOneDatagram) {
  const auto us = Create();
  EXPECT_EQ(manager_.NextWord(kNow), "");
  us->Ready();
  EXPECT_EQ(manager_.NextWord(kNow), "READY=1");
  us->Reloading(net::Instant(std::chrono::microseconds(1234567)));
  EXPECT_EQ(manager_.NextWord(kNow), "RELOADING=1\nMONOTONIC_USEC=1234567");
  us->MainPid(4711);
  EXPECT_EQ(manager_.NextWord(kNow), "MAINPID=4711\nREADY=1");
  us->Status("serves\nREADY=1");
  EXPECT_EQ(manager_.NextWord(kNow), "STATUS=serves READY=1");
  us->Stopping();
  EXPECT_EQ(manager_.NextWord(kNow), "STOPPING=1");
}

TEST_F(ServiceManagerTest, MayHaveANameWithoutAFile) {
  const std::string name = absl::StrCat("@brood.notify.", getpid());
  const FakeServiceManager manager(
      *net::Endpoint::Parse(absl::StrCat("unix:", name)));
  const auto us = ServiceManager::Create(name, &log_);
  ASSERT_THAT(us, IsOk());
  (*us)->Ready();
  EXPECT_EQ(manager.NextWord(kNow), "READY=1");
}

TEST_F(ServiceManagerTest, ReachesAServiceManagerThatWasRestarted) {
  const auto us = Create();
  unlink(dir_.File("notify").c_str());
  const FakeServiceManager restarted(dir_.Socket("notify"));
  us->Stopping();
  EXPECT_EQ(restarted.NextWord(kNow), "STOPPING=1");
}

TEST_F(ServiceManagerTest, MustBeThereAtTheStart) {
  EXPECT_THAT(
      ServiceManager::Create(dir_.File("absent"), &log_),
      StatusIs(absl::StatusCode::kNotFound,
               absl::StrCat("NOTIFY_SOCKET: connect unix:", dir_.File("absent"),
                            ": No such file or directory")));
}

TEST_F(ServiceManagerTest, HasAnAddress) {
  for (const std::string address :
       {"notify", "./notify", "@", "vsock:2:1234", " /x"}) {
    EXPECT_THAT(
        ServiceManager::Create(address, &log_),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 AllOf(StartsWith(absl::StrCat("NOTIFY_SOCKET=", address, ":")),
                       HasSubstr("absolute path, or @ and a name"))));
  }
  EXPECT_THAT(ServiceManager::Create("\n", &log_),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("NOTIFY_SOCKET=\\n:")));
}

TEST_F(ServiceManagerTest, DropsANotificationRatherThanWait) {
  const auto us = Create();
  ::testing::internal::CaptureStderr();
  EventLog log(LogLevel::kWarning);
  const auto logged = ServiceManager::Create(dir_.File("notify"), &log);
  ASSERT_THAT(logged, IsOk());
  for (int i = 0; i < 10000; ++i) (*logged)->Ready();  // the queue is not read
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("sd_notify READY=1 failed: "
                        "NOTIFY_SOCKET: sendto unix:"));
}

}  // namespace
}  // namespace brood::server
