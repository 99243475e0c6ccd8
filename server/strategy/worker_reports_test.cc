#include "brood/server/strategy/worker_reports.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <limits>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/proc/private_fds.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/support/ancillary_message.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::AncillaryMessage;
using ::brood::testing::DescriptorsOf;
using Report = WorkerReports::Report;
using Received = WorkerReports::Received;

Report ReportOf(uint32_t serial) {
  Report report = {};
  report.index = 3;
  report.serial = serial;
  report.exit_code = 2;
  report.leaves = 1;
  report.usage.ru_minflt = 99;
  return report;
}

absl::string_view BytesOf(const Report& report) {
  return {reinterpret_cast<const char*>(&report), sizeof(report)};
}

class WorkerReportsTest : public ::brood::testing::LeakCheck {
 protected:
  WorkerReportsTest() : reports_(*WorkerReports::Create()) {}

  // Runs `body` in a worker, and gives its pid when it has ended.
  pid_t InAWorker(const std::function<void()>& body) {
    const pid_t pid = fork();
    if (pid == 0) {
      body();
      _exit(0);
    }
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
    return pid;
  }
  bool Readable() const {
    pollfd polled = {reports_.fd(), POLLIN, 0};
    return poll(&polled, 1, 0) == 1;
  }
  void SendRaw(const void* bytes, size_t size) const {
    ASSERT_EQ(send(reports_.sender().fd(), bytes, size, MSG_NOSIGNAL),
              static_cast<ssize_t>(size));
  }

  WorkerReports reports_;
};

TEST_F(WorkerReportsTest, HasNothingAtFirst) {
  EXPECT_FALSE(Readable());
  EXPECT_FALSE(reports_.TryReceive(net::Now()));
}

TEST_F(WorkerReportsTest, SaysWhatAWorkerSaidAndWhoItWas) {
  const pid_t worker = InAWorker([&] { reports_.sender().Send(ReportOf(5)); });
  EXPECT_TRUE(Readable());
  const absl::optional<Received> received = reports_.TryReceive(net::Now());
  ASSERT_TRUE(received);
  EXPECT_EQ(received->sender, worker);
  EXPECT_EQ(received->report.index, 3u);
  EXPECT_EQ(received->report.serial, 5u);
  EXPECT_EQ(received->report.exit_code, 2);
  EXPECT_EQ(received->report.leaves, 1u);
  EXPECT_EQ(received->report.usage.ru_minflt, 99);
  EXPECT_FALSE(reports_.TryReceive(net::Now()));
  EXPECT_FALSE(Readable());
}

TEST_F(WorkerReportsTest, TellsTwoThatSayTheSameApart) {
  const pid_t one = InAWorker([&] { reports_.sender().Send(ReportOf(5)); });
  const pid_t other = InAWorker([&] { reports_.sender().Send(ReportOf(5)); });
  EXPECT_EQ(reports_.TryReceive(net::Now())->sender, one);
  EXPECT_EQ(reports_.TryReceive(net::Now())->sender, other);
}

// Root may; it does not run as a worker that has dropped its privileges.
TEST_F(WorkerReportsTest, LetsNobodySpeakForAnotherProcess) {
  const pid_t parent = getpid();
  const pid_t worker = InAWorker([&] {
    // Not by another user: there may be none in this namespace.
    __user_cap_header_struct self = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
    if (syscall(SYS_capset, &self, none) < 0) _exit(2);
    const ucred forged = {parent, getuid(), getgid()};
    const Report report = ReportOf(5);
    const AncillaryMessage message{BytesOf(report), {}, forged};
    if (Send(message, reports_.sender().fd()) >= 0) _exit(1);
    reports_.sender().Send(report);
  });
  const absl::optional<Received> received = reports_.TryReceive(net::Now());
  ASSERT_TRUE(received);
  EXPECT_EQ(received->sender, worker);
  EXPECT_FALSE(reports_.TryReceive(net::Now()));
}

TEST_F(WorkerReportsTest, DropsWhatHasAnotherSizeAndGoesOn) {
  const std::vector<char> bytes(4096);
  for (size_t size : {size_t{0}, size_t{1}, sizeof(Report) - 1,
                      sizeof(Report) + 1, bytes.size()}) {
    SendRaw(bytes.data(), size);
    reports_.sender().Send(ReportOf(static_cast<uint32_t>(size)));
    const absl::optional<Received> received = reports_.TryReceive(net::Now());
    ASSERT_TRUE(received) << size;
    EXPECT_EQ(received->report.serial, size);
    EXPECT_FALSE(reports_.TryReceive(net::Now()));
  }
}

TEST_F(WorkerReportsTest, BelievesNoTimeThatHasNotPassed) {
  const net::Instant before = net::Now();
  const auto said = [&](int64_t nanoseconds) {
    Report report = ReportOf(5);
    report.done_at = nanoseconds;
    reports_.sender().Send(report);
    return reports_.TryReceive(net::Now())->done_at;
  };
  const int64_t passed = before.time_since_epoch().count();
  EXPECT_EQ(said(passed), before);
  EXPECT_EQ(said(-1), net::Instant());
  EXPECT_EQ(said(std::numeric_limits<int64_t>::min()), net::Instant());
  for (int64_t never :
       {passed + 3600'000'000'000, std::numeric_limits<int64_t>::max()}) {
    const net::Instant heard = said(never);
    EXPECT_GE(heard, before);
    EXPECT_LE(heard, net::Now());
  }
}

TEST_F(WorkerReportsTest, KeepsNoDescriptorThatCameAlong) {
  const std::vector<int> before = DescriptorsOf("self");
  for (size_t count : {1u, 2u, 253u}) {
    const Report report = ReportOf(static_cast<uint32_t>(count));
    const AncillaryMessage message{BytesOf(report),
                                   std::vector<int>(count, STDERR_FILENO)};
    ASSERT_GT(Send(message, reports_.sender().fd()), 0);
    const absl::optional<Received> received = reports_.TryReceive(net::Now());
    ASSERT_TRUE(received);
    EXPECT_EQ(received->report.serial, count);
    EXPECT_EQ(DescriptorsOf("self"), before);
  }
}

TEST_F(WorkerReportsTest, LosesNothingInAFlood) {
  constexpr uint32_t kReports = 20000;
  const pid_t worker = fork();
  if (worker == 0) {
    for (uint32_t n = 1; n <= kReports; ++n)
      reports_.sender().Send(ReportOf(n));
    _exit(0);
  }
  uint32_t received = 0;
  while (received < kReports) {
    pollfd polled = {reports_.fd(), POLLIN, 0};
    ASSERT_EQ(poll(&polled, 1, 10000), 1);
    while (const absl::optional<Received> next =
               reports_.TryReceive(net::Now())) {
      ASSERT_EQ(next->report.serial, ++received);
      ASSERT_EQ(next->sender, worker);
    }
  }
  int status = -1;
  ASSERT_EQ(waitpid(worker, &status, 0), worker);
  EXPECT_EQ(status, 0);
}

// One call is a bounded piece of work, whoever goes on sending meanwhile.
TEST_F(WorkerReportsTest, ComesBackFromAFloodOfWhatIsNone) {
  const pid_t parent = getpid();
  std::vector<pid_t> flooders;
  for (int i = 0; i < 3; ++i) {
    flooders.push_back(fork());
    if (flooders.back() != 0) continue;
    while (getppid() == parent) {
      send(reports_.sender().fd(), "noise", 5, MSG_NOSIGNAL);
    }
    _exit(0);
  }
  alarm(10);  // ends a test that would go on for ever
  for (int call = 0; call < 200; ++call) {
    EXPECT_FALSE(reports_.TryReceive(net::Now()));
  }
  alarm(0);
  for (pid_t flooder : flooders) {
    kill(flooder, SIGKILL);
    EXPECT_EQ(waitpid(flooder, nullptr, 0), flooder);
  }
}

TEST_F(WorkerReportsTest, IsHiddenFromChildrenButForTheEndToSend) {
  InAWorker([&] {
    proc::ClosePrivateFds({reports_.sender().fd()});
    if (fcntl(reports_.fd(), F_GETFD) >= 0) _exit(1);
    if (fcntl(reports_.sender().fd(), F_GETFD) < 0) _exit(2);
  });
}

}  // namespace
}  // namespace brood::server
