// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_FAKES_RECORDED_EVENTS_H_
#define BROOD_TESTING_FAKES_RECORDED_EVENTS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "brood/net/connection.h"
#include "brood/net/instant.h"
#include "brood/proc/exit_status.h"
#include "brood/server/strategy/strategy.h"
#include "brood/server/vocabulary/slot.h"

namespace brood::testing {

// RecordedEvents records the reports of a strategy, one line for each.
//
// For unit tests of strategies. Keeps the connections that are returned.
//
// Example:
//   RecordedEvents events;
//   strategy.Dispatch(7, std::move(connection), now, events);
//   EXPECT_THAT(events.Take(), ElementsAre("serving 7 by 101"));
class RecordedEvents final : public server::Strategy::Events {
 public:
  void Serving(server::Slot slot, pid_t pid, net::Instant since) override {
    lines_.push_back(absl::StrCat("serving ", slot, " by ", pid));
    last_time_ = since;
  }
  void Assigned(server::Slot slot, pid_t pid, net::Instant since,
                uint32_t page) override {
    lines_.push_back(absl::StrCat("assigned ", slot, " to ", pid));
    last_page_ = page;
    last_time_ = since;
  }
  void Ended(server::Slot slot, pid_t pid, const proc::ExitStatus& status,
             net::Instant at) override {
    lines_.push_back(
        absl::StrCat("ended ", slot, " by ", pid, ": ", status.ToString()));
    last_time_ = at;
  }
  void Returned(server::Slot slot, net::Connection connection, pid_t pid,
                const proc::ExitStatus& status) override {
    lines_.push_back(
        absl::StrCat("returned ", slot, " by ", pid, ": ", status.ToString()));
    returned_.push_back(std::move(connection));
  }
  void Refused(server::Slot slot, net::Connection connection,
               const absl::Status& why, net::Instant now) override {
    lines_.push_back(absl::StrCat("refused ", slot, ": ", why.message()));
    returned_.push_back(std::move(connection));
    last_time_ = now;
  }
  void Deferred(server::Slot slot, net::Connection connection,
                const absl::Status& why, net::Instant now) override {
    lines_.push_back(absl::StrCat("deferred ", slot, ": ", why.message()));
    returned_.push_back(std::move(connection));
    last_time_ = now;
  }
  void Failed(server::Slot slot, const absl::Status& why,
              net::Instant now) override {
    lines_.push_back(absl::StrCat("failed ", slot, ": ", why.message()));
    last_time_ = now;
  }
  net::Instant DeadlineOf(server::Slot /*slot*/) override { return deadline_; }
  net::PeerAddress PeerOf(server::Slot slot) override {
    lines_.push_back(absl::StrCat("peer of ", slot));
    return {};
  }

  // Makes DeadlineOf() return `deadline` from now on.
  void set_deadline(net::Instant deadline) { deadline_ = deadline; }
  // Returns the lines since the last call.
  std::vector<std::string> Take() { return std::exchange(lines_, {}); }
  // Returns the connections that were returned, refused or deferred.
  const std::vector<net::Connection>& returned() const { return returned_; }
  // Returns the page of the process to which a connection was assigned last.
  uint32_t last_page() const { return last_page_; }
  // Returns the time that was reported last.
  net::Instant last_time() const { return last_time_; }

 private:
  std::vector<std::string> lines_;
  std::vector<net::Connection> returned_;
  net::Instant deadline_ = net::Never();
  uint32_t last_page_ = 0;
  net::Instant last_time_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_FAKES_RECORDED_EVENTS_H_
