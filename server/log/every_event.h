// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_EVERY_EVENT_H_
#define BROOD_SERVER_LOG_EVERY_EVENT_H_

#include <sys/types.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/endpoint.h"
#include "brood/net/instant.h"
#include "brood/net/peer_address.h"
#include "brood/server/log/event_log.h"

namespace brood::server {

// Returns the time of every event that LogEveryEvent() logs with a time.
net::Instant LogTime();
// The pause in every event that has one.
inline constexpr absl::Duration kLogPause = absl::Milliseconds(20);

// Returns 192.0.2.7:50112.
net::PeerAddress LogPeer();
// Returns [::1]:7000.
net::Endpoint LogListener();

// Calls each method of `log` that writes a line, in the order of the header.
void LogEveryEvent(EventLog& log);

// StderrCapture reads what this process writes to standard error.
//
// While an object lives, standard error is one end of a socket or of a pipe,
// and the object has the other end. (GoogleTest prints to standard output.)
// Lives in the test process and in children that it forks.
//
// Example:
//   const StderrCapture captured = StderrCapture::ToPackets();
//   EventLog(LogLevel::kInfo).Killing(1);
//   EXPECT_THAT(captured.Writes(), SizeIs(1));
class StderrCapture {
 public:
  // Redirects standard error to a socket that keeps writes apart.
  static StderrCapture ToPackets();
  // Redirects standard error to a pipe with room for a few lines.
  static StderrCapture ToPipe();
  StderrCapture(const StderrCapture&) = delete;
  StderrCapture& operator=(const StderrCapture&) = delete;
  // Restores standard error, and drops what was not read.
  ~StderrCapture();

  // Returns the writes since the last call, one string for each.
  std::vector<std::string> Writes() const;
  // Returns the whole lines since the last call, without newlines.
  std::vector<std::string> Lines() const;

 private:
  // Takes ownership of both ends: makes `fds[1]` standard error, and reads from
  // `fds[0]` without waiting.
  explicit StderrCapture(const int (&fds)[2]);

  const int reader_;
  const int before_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_EVERY_EVENT_H_
