// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LISTENING_INHERITANCE_FIXTURE_H_
#define BROOD_SERVER_LISTENING_INHERITANCE_FIXTURE_H_

#include <fcntl.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "brood/net/endpoint.h"
#include "brood/net/listener.h"
#include "brood/net/socket.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/listening/open_listeners.h"
#include "brood/server/log/event_log.h"
#include "brood/server/options.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/logged_event.h"
#include "brood/testing/support/short_dir.h"
#include "gtest/gtest.h"

namespace brood::server {

// InheritanceTest opens listeners, some of which are inherited from a service
// manager or an earlier program, and reads what was logged.
//
// Example:
//   Inherit(ListenAt("[::]:0"));
//   options_.listen = {"[::]:0"};
//   ASSERT_THAT(Open(), IsOk());
//   EXPECT_THAT(EventsOf(log_, "listening"), IsEmpty());
class InheritanceTest : public ::brood::testing::LeakCheck {
 protected:
  // Returns a listener that this test has opened at `text`.
  static net::Listener ListenAt(absl::string_view text) {
    return *net::Listener::Listen(*net::Endpoint::Parse(text), 8);
  }

  // Makes a copy of `listener` an inherited one of the next Open(): if
  // `is_ours`, a listener that an earlier server had bound for the entry
  // `served`; otherwise that of a service manager.
  void Inherit(const net::Listener& listener, const std::string& served = "",
               bool is_ours = false) {
    const int fd = fcntl(listener.fd(), F_DUPFD_CLOEXEC, 0);
    ASSERT_GE(fd, 0);
    inherited_.push_back({net::Socket::Adopt(fd), served, is_ours});
  }

  // Opens the listeners, and sets `log_`. Keeps the files of unix sockets that
  // were bound, as a successful start does.
  absl::Status Open() {
    ::testing::internal::CaptureStderr();
    absl::StatusOr<Listeners> opened = [this] {
      EventLog log(LogLevel::kInfo, LogFormat::kJson);
      return OpenListeners(options_, std::exchange(inherited_, {}), &log);
    }();
    log_ = ::testing::internal::GetCapturedStderr();
    opened_.clear();
    if (!opened.ok()) return opened.status();
    opened_ = *std::move(opened);
    for (OpenedListener& each : opened_) each.new_file.Keep();
    return absl::OkStatus();
  }

  // Makes the listeners of the last Open() the inherited ones of the next
  // Open(), as an upgrade does.
  void Upgrade() {
    for (const OpenedListener& each : opened_) {
      Inherit(each.socket, each.entry, each.ends_with_server);
    }
  }

  // Returns where the listeners of the last Open() listen, each followed by
  // "(bound)" if it was not inherited.
  std::vector<std::string> Opened() const {
    std::vector<std::string> endpoints;
    for (const OpenedListener& each : opened_) {
      endpoints.push_back(absl::StrCat(each.socket.endpoint().ToString(),
                                       each.is_new ? " (bound)" : ""));
    }
    return endpoints;
  }

  // Returns the texts under `key` of the logged events called `name`.
  std::vector<std::string> Logged(absl::string_view name,
                                  absl::string_view key) const {
    std::vector<std::string> texts;
    for (const auto& event : ::brood::testing::EventsOf(log_, name)) {
      texts.push_back(event.Text(key));
    }
    return texts;
  }

  const ::brood::testing::ShortDir dir_;
  Options options_;
  std::vector<InheritedListener> inherited_;
  Listeners opened_;
  std::string log_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LISTENING_INHERITANCE_FIXTURE_H_
