// SPDX-License-Identifier: Apache-2.0

#include "brood/server/report/handler_report.h"

#include <sys/wait.h>
#include <unistd.h>

#include <chrono>  // NOLINT(build/c++11): Instant is made of it.
#include <csignal>
#include <cstddef>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;

class HandlerReportTest : public ::brood::testing::LeakCheck {
 protected:
  HandlerReportTest() {
    auto reports = HandlerReports::Create(2);
    EXPECT_THAT(reports, IsOk());
    reports_ = *std::move(reports);
  }

  // Runs `body` in a child that reports to `page`.
  void InChild(const std::function<void()>& body, uint32_t page = 1) const {
    const pid_t pid = fork();
    if (pid == 0) {
      if (!reports_->Enter(page).ok()) _exit(1);
      body();
      _exit(0);
    }
    int status = -1;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_TRUE(status == 0 || status == SIGKILL) << status;
  }

  // Returns what was reported by `page`.
  HandlerReport Take(uint32_t page = 1) const {
    HandlerReport report;
    reports_->Take(page, began_, net::Now(), &report);
    return report;
  }

  static void ExpectEmpty(const HandlerReport& report) {
    EXPECT_EQ(report.handler_time, absl::ZeroDuration());
    EXPECT_EQ(report.linger_time, absl::ZeroDuration());
    EXPECT_EQ(report.exception.view(), "");
    EXPECT_EQ(report.annotation.view(), "");
  }

  std::unique_ptr<HandlerReports> reports_;
  const net::Instant began_ = net::Now();
};

TEST_F(HandlerReportTest, IsWhatAChildWrote) {
  InChild([] {
    report_writer::HandlerCalled();
    report_writer::SetAnnotation("first");
    report_writer::SetAnnotation("GET /");
    report_writer::SetException("oh");
    report_writer::HandlerReturned();
    report_writer::ConnectionClosed();
  });
  const HandlerReport report = Take();
  EXPECT_GT(report.handler_time, absl::ZeroDuration());
  EXPECT_GT(report.linger_time, absl::ZeroDuration());
  EXPECT_LE(report.handler_time + report.linger_time,
            absl::FromChrono(net::Now() - began_));
  EXPECT_EQ(report.annotation.view(), "GET /");
  EXPECT_EQ(report.exception.view(), "oh");
  ExpectEmpty(Take(0));
}

TEST_F(HandlerReportTest, IsTakenOnce) {
  InChild([] {
    report_writer::HandlerCalled();
    report_writer::SetAnnotation("GET /");
  });
  EXPECT_EQ(Take().annotation.view(), "GET /");
  ExpectEmpty(Take());
}

TEST_F(HandlerReportTest, IsEmptyIfNoHandlerWasCalled) {
  InChild([] { report_writer::SetAnnotation("before the handler"); });
  ExpectEmpty(Take());
}

TEST_F(HandlerReportTest, HasNoAnnotationThatIsSetAfterTheHandler) {
  InChild([] {
    report_writer::HandlerCalled();
    report_writer::HandlerReturned();
    report_writer::SetAnnotation("after");
  });
  EXPECT_EQ(Take().annotation.view(), "");
}

// A worker of a pool calls the handler for a second connection.
TEST_F(HandlerReportTest, BeginsWithEachCallOfAHandler) {
  InChild([] {
    report_writer::HandlerCalled();
    report_writer::SetAnnotation("of the first");
    report_writer::SetException("of the first");
    report_writer::HandlerReturned();
    report_writer::ConnectionClosed();
    report_writer::HandlerCalled();
  });
  const HandlerReport report = Take();
  EXPECT_EQ(report.annotation.view(), "");
  EXPECT_EQ(report.exception.view(), "");
  EXPECT_GT(report.handler_time, absl::ZeroDuration()) << "it did not return";
  EXPECT_EQ(report.linger_time, absl::ZeroDuration());
}

TEST_F(HandlerReportTest, OutlivesTheProcessThatIsKilled) {
  InChild([] {
    report_writer::HandlerCalled();
    report_writer::SetAnnotation("GET /");
    raise(SIGKILL);
  });
  const HandlerReport report = Take();
  EXPECT_EQ(report.annotation.view(), "GET /");
  EXPECT_GT(report.handler_time, absl::ZeroDuration());
  EXPECT_EQ(report.linger_time, absl::ZeroDuration());
}

TEST_F(HandlerReportTest, CutsATextThatIsTooLong) {
  const std::string text = std::string(256, 'x') + "y";
  InChild([&] {
    report_writer::HandlerCalled();
    report_writer::SetAnnotation(text);
    report_writer::SetException(text);
  });
  const HandlerReport report = Take();
  EXPECT_EQ(report.annotation.view(), std::string(256, 'x'));
  EXPECT_EQ(report.exception.view(), std::string(256, 'x'));
}

TEST_F(HandlerReportTest, IsBoundedWhateverAChildWrites) {
  for (unsigned seed = 0; seed < 200; ++seed) {
    InChild([seed] {
      std::minstd_rand random(seed + 1);
      auto* const page =
          static_cast<unsigned char*>(report_writer::PageForTest());
      // Extreme bytes as well as random ones.
      for (size_t i = 0; i < 4096; ++i) {
        page[i] = static_cast<unsigned char>(seed % 4 == 0   ? 0xff
                                             : seed % 4 == 1 ? 0x7f
                                                             : random());
      }
    });
    const net::Instant ended = net::Now();
    HandlerReport report;
    reports_->Take(1, began_, ended, &report);
    EXPECT_GE(report.handler_time, absl::ZeroDuration());
    EXPECT_GE(report.linger_time, absl::ZeroDuration());
    EXPECT_LE(report.handler_time + report.linger_time,
              absl::FromChrono(ended - began_));
    EXPECT_LE(report.annotation.view().size(), HandlerText::kMostBytes);
    EXPECT_LE(report.exception.view().size(), HandlerText::kMostBytes);
    ExpectEmpty(Take());
  }
}

TEST_F(HandlerReportTest, HasNoEffectInAProcessWithoutAPage) {
  report_writer::HandlerCalled();
  report_writer::SetAnnotation("x");
  report_writer::SetException("x");
  report_writer::HandlerReturned();
  report_writer::ConnectionClosed();
  EXPECT_EQ(report_writer::PageForTest(), nullptr);
  ExpectEmpty(Take(0));
  ExpectEmpty(Take(1));
}

}  // namespace
}  // namespace brood::server
