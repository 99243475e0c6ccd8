// SPDX-License-Identifier: Apache-2.0
//
// What a handler reports to the embedder and to the log: its own text, its
// exception and its time. The same with each strategy.

#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/connection.h"
#include "brood/net/io.h"
#include "brood/server/connection_report.h"
#include "brood/server/handler.h"
#include "brood/server/options.h"
#include "brood/server/report/handler_report.h"
#include "brood/server/totals.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/strategies.h"
#include "brood/testing/support/shared.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

using server::Annotate;
using server::ConnectionReport;
using server::ExitCode;
using ::testing::SizeIs;

// The report of one connection, in a form for shared memory.
struct Reported {
  absl::Duration handler_time, linger_time, duration;
  char exception[300], annotation[300];
};

struct AllReported {
  std::atomic<size_t> count{0};
  std::array<Reported, 8> reports = {};

  void Add(const ConnectionReport& report) {
    Reported& reported = reports.at(count);
    reported.handler_time = report.handler_time;
    reported.linger_time = report.linger_time;
    reported.duration = report.duration;
    report.exception.copy(reported.exception, sizeof(reported.exception) - 1);
    report.annotation.copy(reported.annotation,
                           sizeof(reported.annotation) - 1);
    ++count;
  }
};

class HandlerReportsTest : public StrategyTest {
 protected:
  // Returns the setup of a server whose handlers report.
  TestServer::Setup ReportingSetup(server::Handler handler) {
    TestServer::Setup setup;
    setup.options.handler_reports = true;
    setup.options.max_connections = 4;
    setup.options.spares.min = 2;
    setup.options.pool.workers = 2;
    setup.options.on_connection_end = [this](const ConnectionReport& report) {
      all_->Add(report);
    };
    setup.handler = std::move(handler);
    return setup;
  }

  // Connects, sends `request`, ends this side and waits for the end of the
  // reply.
  void Request(const TestServer& server, absl::string_view request) {
    TestClient client = ConnectTo(server);
    ASSERT_THAT(client.Send(request), IsOk());
    ASSERT_THAT(client.ShutdownWrite(), IsOk());
    client.ReadUntilEof().status().IgnoreError();
  }

  Shared<AllReported> all_;
};

INSTANTIATE_TEST_SUITE_P(With, HandlerReportsTest, EachStrategy(),
                         StrategyName());

// Reads one byte. Throws at 't', fails at 'f', and annotates at 'a'.
ExitCode DoAsAsked(net::Connection& connection) {
  char request;
  EXPECT_THAT(net::ReadFull(connection.socket(), absl::MakeSpan(&request, 1)),
              IsOk());
  if (request == 'a') {
    Annotate(connection, "not this");
    Annotate(connection, absl::string_view("GET \x1b\n\0x", 8));
  }
  if (request == 't') throw std::runtime_error("no such table");
  return request == 'f' ? ExitCode::kHandlerFailed : ExitCode::kServed;
}

TEST_P(HandlerReportsTest, ReachTheEmbedder) {
  const auto server = StartServer(ReportingSetup(DoAsAsked));
  for (const char* request : {"a", "-", "t", "f", "a"}) {
    Request(*server, request);
    ASSERT_THAT(server->AwaitEvent("ended"), IsOk());
  }
  StopAndExpectClean(*server);
  ASSERT_EQ(all_->count, 5u);
  const struct {
    absl::string_view annotation, exception;
  } expected[] = {{{"GET \x1b\n\0x", 8}, ""},
                  {"", ""},
                  {"", "no such table"},
                  {"", ""},
                  {{"GET \x1b\n\0x", 8}, ""}};
  for (size_t i = 0; i < 5; ++i) {
    SCOPED_TRACE(i);
    const Reported& report = all_->reports[i];
    EXPECT_EQ(std::memcmp(report.annotation, expected[i].annotation.data(),
                          expected[i].annotation.size()),
              0);
    EXPECT_EQ(report.annotation[expected[i].annotation.size()], '\0');
    EXPECT_STREQ(report.exception, std::string(expected[i].exception).c_str());
    EXPECT_GT(report.handler_time, absl::ZeroDuration());
    EXPECT_GE(report.linger_time, absl::ZeroDuration());
    EXPECT_LE(report.handler_time + report.linger_time, report.duration);
  }
}

TEST_P(HandlerReportsTest, ReachTheLog) {
  TestServer::Setup setup = ReportingSetup(DoAsAsked);
  setup.options.on_connection_end = nullptr;
  const auto server = StartServer(std::move(setup));
  for (const char* request : {"a", "t"}) Request(*server, request);
  const TestServer::Report report = StopAndExpectClean(*server);
  // Whatever the handler's text is, the event is one line of valid JSON.
  const absl::string_view text("GET \x1b\n\0x", 8);
  EXPECT_THAT(EventsOf(report.log, "ended",
                       {{"brood.annotation", std::string(text)},
                        {"log.level", "info"}}),
              SizeIs(1));
  const auto threw = EventsOf(
      report.log, "ended",
      {{"exception.message", "no such table"}, {"log.level", "warning"}});
  ASSERT_THAT(threw, SizeIs(1));
  EXPECT_GT(threw[0].Number("brood.handler_time"), 0);
  EXPECT_TRUE(threw[0].Has("brood.linger_time"));
  EXPECT_FALSE(threw[0].Has("brood.annotation"));
  EXPECT_THAT(EventsOf(report.log, "handler-threw",
                       {{"exception.message", "no such table"}}),
              SizeIs(1));
}

TEST_P(HandlerReportsTest, ReportTheTimesOfHandlerAndLingerApart) {
  constexpr absl::Duration kLinger = absl::Milliseconds(100);
  TestServer::Setup setup = ReportingSetup(DoAsAsked);
  setup.options.linger = kLinger;
  const auto server = StartServer(std::move(setup));
  TestClient client = ConnectTo(*server);
  ASSERT_THAT(client.Send("-"), IsOk());
  // The client never ends its side.
  ASSERT_THAT(server->AwaitEvent("ended"), IsOk());
  StopAndExpectClean(*server);
  const Reported& report = all_->reports[0];
  // The end of the linger is rounded to milliseconds, and the end of the
  // connection is measured by the parent, in its next turn.
  EXPECT_GE(report.linger_time, kLinger - absl::Milliseconds(10));
  EXPECT_GT(report.handler_time, absl::ZeroDuration());
  EXPECT_LE(report.handler_time + report.linger_time, report.duration);
}

TEST_P(HandlerReportsTest, AreEmptyWhereTheOptionIsOff) {
  TestServer::Setup setup = ReportingSetup(DoAsAsked);
  setup.options.handler_reports = false;
  const auto server = StartServer(std::move(setup));
  for (const char* request : {"a", "t"}) Request(*server, request);
  const TestServer::Report report = StopAndExpectClean(*server);
  ASSERT_EQ(all_->count, 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_STREQ(all_->reports[i].annotation, "");
    EXPECT_STREQ(all_->reports[i].exception, "");
    EXPECT_EQ(all_->reports[i].handler_time, absl::ZeroDuration());
    EXPECT_EQ(all_->reports[i].linger_time, absl::ZeroDuration());
  }
  for (const LoggedEvent& ended : EventsOf(report.log, "ended")) {
    EXPECT_FALSE(ended.Has("brood.handler_time")) << ended;
    EXPECT_FALSE(ended.Has("brood.annotation")) << ended;
  }
  EXPECT_THAT(EventsOf(report.log, "handler-threw"), SizeIs(1))
      << "the child logs the exception itself";
}

TEST_P(HandlerReportsTest, ArriveFromAProcessThatIsKilled) {
  TestServer::Setup setup = ReportingSetup([](net::Connection& connection) {
    Annotate(connection, "GET /slow");
    for (;;) pause();
    return ExitCode::kServed;
  });
  setup.options.deadlines.connection = absl::Milliseconds(100);
  const auto server = StartServer(std::move(setup));
  EXPECT_THAT(ConnectTo(*server).ReadUntilEof(), IsOk());
  const absl::StatusOr<LoggedEvent> ended =
      server->AwaitEvent("ended", {{"brood.annotation", "GET /slow"}});
  ASSERT_THAT(ended, IsOk());
  EXPECT_EQ(ended->Text("brood.kill.reason"), "connection");
  EXPECT_EQ(ended->Text("log.level"), "warning");
  EXPECT_GT(ended->Number("brood.handler_time"), 0);
  EXPECT_EQ(ended->Number("brood.linger_time"), 0);
  EXPECT_EQ(StopAndExpectClean(*server).totals.killed, 1u);
  EXPECT_STREQ(all_->reports[0].annotation, "GET /slow");
}

// The page of a handler is that of its slot; a worker of a pool has a page
// behind those of all slots.
TEST_P(HandlerReportsTest, HaveAPageThatNoOtherHandlerCanWrite) {
  const auto distance =
      (row().one_each ? 1 : -1) * static_cast<int>(sysconf(_SC_PAGESIZE));
  const auto server =
      StartServer(ReportingSetup([distance](net::Connection& connection) {
        char request;
        EXPECT_THAT(
            net::ReadFull(connection.socket(), absl::MakeSpan(&request, 1)),
            IsOk());
        auto* const own =
            static_cast<volatile char*>(server::report_writer::PageForTest());
        volatile char* const other = own + distance;
        if (request == 'r') *own = *other;
        if (request == 'w') *other = 'x';
        // The first byte belongs to a time, which the test does not check.
        *own = 1;
        return ExitCode::kServed;
      }));
  for (const char* request : {"o", "r", "o", "w", "o"}) {
    Request(*server, request);
    ASSERT_THAT(server->AwaitEvent("ended"), IsOk());
  }
  const server::Totals totals = StopAndExpectClean(*server).totals;
  EXPECT_EQ(totals.ended_ok, 3u);
  EXPECT_EQ(totals.crashed_by[SIGSEGV], 2u);
}

TEST_P(HandlerReportsTest, CountANumberThatIsNoExitCodeAsABug) {
  const auto server = StartServer(ReportingSetup(
      [](net::Connection&) { return static_cast<ExitCode>(256); }));
  Request(*server, "-");
  const TestServer::Report report = StopAndExpectClean(*server);
  EXPECT_EQ(report.totals.ended_ok, 0u);
  EXPECT_EQ(report.totals.ended_error, 1u);
  EXPECT_THAT(EventsOf(report.log, "ended", {{"brood.exit.code", 101}}),
              SizeIs(1));
  EXPECT_THAT(EventsOf(report.log, "bad-exit-code", {{"brood.exit.code", 256}}),
              SizeIs(1));
}

}  // namespace
}  // namespace brood::testing
