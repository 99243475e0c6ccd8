// SPDX-License-Identifier: Apache-2.0

#include "brood/server/strategy/worker_reports.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>  // NOLINT(build/c++11): the monotonic clock.
#include <csignal>
#include <fstream>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "brood/net/handoff_queue.h"
#include "brood/net/instant.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/ancillary_message.h"
#include "brood/testing/support/observe.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::AncillaryMessage;
using ::brood::testing::Await;
using ::brood::testing::DescriptorsOf;
using ::brood::testing::IsOk;
using Report = WorkerReports::Report;
using Received = WorkerReports::Received;

const net::Instant kNow{std::chrono::hours(1000)};
const net::Instant kSince = kNow - std::chrono::seconds(2);

Report ReportOf(uint32_t serial) {
  Report report = {};
  report.mark = Report::kMark;
  report.serial = serial;
  report.exit_code = 2;
  report.leaves = 1;
  report.done_at = kNow.time_since_epoch().count();
  report.usage.ru_minflt = 99;
  return report;
}

absl::string_view BytesOf(const Report& report) {
  return {reinterpret_cast<const char*>(&report), sizeof(report)};
}

class WorkerReportsTest : public ::brood::testing::LeakCheck {
 protected:
  WorkerReportsTest()
      : reports_(*WorkerReports::Create()),
        channel_(*net::HandoffQueue::Create()),
        sender_(channel_.fd_to_await()) {
    EXPECT_THAT(reports_.Watch(channel_.fd_to_offer(), 3), IsOk());
  }

  // Returns whether the descriptor that the parent polls is readable.
  bool Readable() const {
    pollfd polled = {reports_.fd(), POLLIN, 0};
    return poll(&polled, 1, 0) == 1;
  }
  int Find() {
    ready_ = {};
    return reports_.Find(&ready_);
  }
  absl::StatusOr<absl::optional<Received>> Receive() const {
    return WorkerReports::Receive(channel_.fd_to_offer(), kSince, kNow);
  }
  void SendRaw(absl::string_view bytes) const {
    ASSERT_EQ(
        send(channel_.fd_to_await(), bytes.data(), bytes.size(), MSG_NOSIGNAL),
        static_cast<ssize_t>(bytes.size()));
  }

  const WorkerReports reports_;
  const net::HandoffQueue channel_;
  const ReportSender sender_;
  WorkerReports::Ready ready_;
};

TEST_F(WorkerReportsTest, FindsNothingAtFirst) {
  EXPECT_FALSE(Readable());
  EXPECT_EQ(Find(), 0);
  const auto received = Receive();
  ASSERT_THAT(received, IsOk());
  EXPECT_FALSE(received->has_value());
}

TEST_F(WorkerReportsTest, ReceivesWhatAWorkerHasSent) {
  ASSERT_TRUE(sender_.Send(ReportOf(5)));
  EXPECT_TRUE(Readable());
  ASSERT_EQ(Find(), 1);
  EXPECT_EQ(ready_[0], 3u);
  const auto received = Receive();
  ASSERT_THAT(received, IsOk());
  ASSERT_TRUE(received->has_value());
  const Report& report = (*received)->report;
  EXPECT_EQ(report.serial, 5u);
  EXPECT_EQ(report.exit_code, 2);
  EXPECT_EQ(report.leaves, 1u);
  EXPECT_EQ(report.usage.ru_minflt, 99);
  EXPECT_EQ((*received)->done_at, kNow);
  EXPECT_FALSE(Readable());
}

TEST_F(WorkerReportsTest, SendsByTheQueueInBothDirections) {
  ASSERT_THAT(channel_.Order({7, 8}), IsOk());
  ASSERT_TRUE(sender_.Send(ReportOf(5)));
  EXPECT_FALSE(channel_.Empty());
  EXPECT_TRUE((*Receive())->report.serial == 5u);
  EXPECT_EQ((*channel_.TakeBack())->ticket.slot, 7u);
}

TEST_F(WorkerReportsTest, RefusesAMessageThatIsNoReport) {
  const std::vector<char> zeroes(4096);
  Report other = ReportOf(5);
  other.mark = 0;
  Report leaves = ReportOf(5);
  leaves.leaves = 2;
  const Report whole = ReportOf(5);
  const std::string longer = absl::StrCat(BytesOf(whole), "x");
  for (const absl::string_view bytes :
       {absl::string_view(zeroes.data(), 1),
        absl::string_view(zeroes.data(), sizeof(Report) - 1),
        absl::string_view(zeroes.data(), sizeof(Report)),
        absl::string_view(zeroes.data(), sizeof(Report) + 1),
        absl::string_view(zeroes.data(), zeroes.size()), BytesOf(other),
        BytesOf(leaves), BytesOf(whole).substr(0, sizeof(Report) - 1),
        absl::string_view(longer)}) {
    SendRaw(bytes);
    EXPECT_TRUE(absl::IsInvalidArgument(Receive().status())) << bytes.size();
  }
}

// The parent has a copy of that end, so closing it causes no end of file.
TEST_F(WorkerReportsTest, ReturnsTheEndOfAChannelThatAWorkerShutDown) {
  shutdown(channel_.fd_to_await(), SHUT_WR);
  EXPECT_TRUE(Readable());
  EXPECT_TRUE(absl::IsOutOfRange(Receive().status()));
  EXPECT_TRUE(Readable()) << "it would stay so";
  reports_.Unwatch(channel_.fd_to_offer());
  EXPECT_FALSE(Readable());
  EXPECT_EQ(Find(), 0);
}

TEST_F(WorkerReportsTest, TreatsAnEmptyMessageAsTheEnd) {
  SendRaw("");
  EXPECT_TRUE(absl::IsOutOfRange(Receive().status()));
}

TEST_F(WorkerReportsTest, BoundsTheTime) {
  const auto received = [&](int64_t nanoseconds) {
    Report report = ReportOf(5);
    report.done_at = nanoseconds;
    EXPECT_TRUE(sender_.Send(report));
    return (*Receive())->done_at;
  };
  const int64_t since = kSince.time_since_epoch().count();
  EXPECT_EQ(received(since + 1), kSince + std::chrono::nanoseconds(1));
  for (const int64_t early :
       {since - 1, int64_t{-1}, std::numeric_limits<int64_t>::min()}) {
    EXPECT_EQ(received(early), kSince);
  }
  for (const int64_t late : {kNow.time_since_epoch().count() + 1,
                             std::numeric_limits<int64_t>::max()}) {
    EXPECT_EQ(received(late), kNow);
  }
}

TEST_F(WorkerReportsTest, BoundsTheUsage) {
  Report report = ReportOf(5);
  const int64_t least = std::numeric_limits<int64_t>::min() / 2;  // -2^62
  report.usage.ru_utime = {least, least};
  report.usage.ru_stime = {std::numeric_limits<int64_t>::max(), 999999};
  report.usage.ru_maxrss = least;
  report.usage.ru_minflt = std::numeric_limits<int64_t>::max();
  ASSERT_TRUE(sender_.Send(report));
  const rusage usage = (*Receive())->report.usage;
  EXPECT_EQ(usage.ru_utime.tv_sec, 0);
  EXPECT_EQ(usage.ru_utime.tv_usec, 0);
  EXPECT_LE(usage.ru_stime.tv_sec, 3 * 8192);
  EXPECT_EQ(usage.ru_maxrss, 0);
  EXPECT_EQ(usage.ru_minflt, int64_t{1} << 40);
}

TEST_F(WorkerReportsTest, KeepsNoDescriptorThatCameWithAReport) {
  const std::vector<int> before = DescriptorsOf("self");
  for (size_t count : {1u, 2u, 253u}) {
    const Report report = ReportOf(static_cast<uint32_t>(count));
    const AncillaryMessage message{BytesOf(report),
                                   std::vector<int>(count, STDERR_FILENO)};
    ASSERT_GT(Send(message, channel_.fd_to_await()), 0);
    const auto received = Receive();
    ASSERT_THAT(received, IsOk());
    EXPECT_EQ((*received)->report.serial, count);
    EXPECT_EQ(DescriptorsOf("self"), before);
  }
}

// The handler has made the channel non-blocking, and filled it.
TEST_F(WorkerReportsTest, WaitsWhileTheChannelIsFull) {
  fcntl(channel_.fd_to_await(), F_SETFL, O_NONBLOCK);
  int count = 0;
  while (send(channel_.fd_to_await(), "flood", 5, MSG_NOSIGNAL) > 0) ++count;
  ASSERT_EQ(errno, EAGAIN);
  const pid_t worker = fork();
  if (worker == 0) _exit(sender_.Send(ReportOf(5)) ? 0 : 1);
  ASSERT_TRUE(Await([worker] {
    std::string stat;
    std::getline(std::ifstream(absl::StrCat("/proc/", worker, "/stat")), stat);
    return absl::StrContains(stat, ") S ") || absl::StrContains(stat, ") Z ");
  }));
  EXPECT_EQ(waitpid(worker, nullptr, WNOHANG), 0) << "it does not wait";
  for (int i = 0; i < count; ++i) {
    EXPECT_TRUE(absl::IsInvalidArgument(Receive().status()));
  }
  int status = -1;
  ASSERT_EQ(waitpid(worker, &status, 0), worker);
  EXPECT_EQ(status, 0);
  EXPECT_EQ((*Receive())->report.serial, 5u);
}

// The worker must know it, so that it exits with the code that it cannot
// report.
TEST_F(WorkerReportsTest, ReturnsFalseIfAReportCannotBeSent) {
  shutdown(channel_.fd_to_offer(), SHUT_RD);
  EXPECT_FALSE(sender_.Send(ReportOf(5)));
}

// Another file has the number now, and must not get the report.
TEST_F(WorkerReportsTest, KnowsAnotherFileWithItsNumber) {
  auto other = net::SeqpacketPair::Create();
  ASSERT_THAT(other, IsOk());
  const int number = dup(channel_.fd_to_await());
  const ReportSender sender(number);
  EXPECT_TRUE(sender.IsIntact());
  dup2(other->first.fd(), number);
  EXPECT_FALSE(sender.IsIntact());
  close(number);
  EXPECT_FALSE(sender.IsIntact());
}

// The other channels are found in the next turns, so no channel is starved.
TEST_F(WorkerReportsTest, FindsABoundedNumberInTurn) {
  std::vector<net::HandoffQueue> channels;
  const size_t count = WorkerReports::kBatch + 10;
  std::vector<int> found(count);
  const auto reports = WorkerReports::Create();
  ASSERT_THAT(reports, IsOk());
  for (uint32_t i = 0; i < count; ++i) {
    channels.push_back(*net::HandoffQueue::Create());
    ASSERT_THAT(reports->Watch(channels[i].fd_to_offer(), i), IsOk());
    shutdown(channels[i].fd_to_await(), SHUT_WR);
  }
  for (int turn = 0; turn < 2; ++turn) {
    ASSERT_EQ(reports->Find(&ready_), static_cast<int>(WorkerReports::kBatch));
    for (const uint32_t index : ready_) ++found.at(index);
  }
  for (const int times : found) EXPECT_GE(times, 1);
}

}  // namespace
}  // namespace brood::server
