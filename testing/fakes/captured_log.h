// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_FAKES_CAPTURED_LOG_H_
#define BROOD_TESTING_FAKES_CAPTURED_LOG_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "brood/server/log/event_log.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::testing {

// CapturedLog is a log whose events a test reads by their names.
//
// For unit tests of behaviour that only the log shows. While an object lives,
// standard error of the test process is captured: only one at a time.
//
// Example:
//   CapturedLog captured;
//   captured.log().Killing(1);
//   EXPECT_THAT(captured.End(), ElementsAre("killing"));
class CapturedLog {
 public:
  // Begins to capture standard error.
  CapturedLog() {
    ::testing::internal::CaptureStderr();
    log_.emplace(server::LogLevel::kInfo, server::LogFormat::kJson);
  }
  CapturedLog(const CapturedLog&) = delete;
  CapturedLog& operator=(const CapturedLog&) = delete;
  // Restores standard error.
  ~CapturedLog() {
    if (!ended_) End();
  }

  // Returns the log, which writes events of every level.
  server::EventLog& log() { return *log_; }

  // Restores standard error. Returns the names of the events that were logged,
  // in order. Must be called once at most.
  std::vector<std::string> End() {
    ended_ = true;
    std::vector<std::string> names;
    const std::string text = ::testing::internal::GetCapturedStderr();
    for (const absl::string_view line :
         absl::StrSplit(text, '\n', absl::SkipEmpty())) {
      const absl::StatusOr<LoggedEvent> event = LoggedEvent::Parse(line);
      EXPECT_THAT(event, IsOk());
      if (event.ok()) names.emplace_back(event->name());
    }
    return names;
  }

 private:
  absl::optional<server::EventLog> log_;
  bool ended_ = false;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_FAKES_CAPTURED_LOG_H_
