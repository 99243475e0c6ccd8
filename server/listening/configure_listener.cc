// SPDX-License-Identifier: Apache-2.0

#include "brood/server/listening/configure_listener.h"

#include <sys/stat.h>

#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "brood/net/unix_file/socket_file.h"
#include "brood/server/text/listen_entry.h"

namespace brood::server {
namespace {

// Logs which options are not applied to a listener of another program. Options
// with their default values are not logged: nothing shows whether the user has
// set them.
void ReportOthersSettings(const ListenerSettings& settings,
                          const std::string& path,
                          const net::Listener& listener, EventLog* log) {
  const ListenerSettings defaults;
  if (settings.backlog != defaults.backlog &&
      listener.backlog() != settings.backlog) {
    log->OptionNotApplied(
        "backlog", listener.endpoint(),
        "the program that opened the socket decides about its queue");
  }
  struct stat file = {};
  if (settings.unix_mode != defaults.unix_mode && !path.empty() &&
      stat(path.c_str(), &file) == 0 &&
      (file.st_mode & 07777) != static_cast<mode_t>(settings.unix_mode)) {
    log->OptionNotApplied(
        "unix_mode", listener.endpoint(),
        absl::StrFormat("the program that opened the socket decides about its "
                        "file, which has the mode 0%o",
                        file.st_mode & 07777));
  }
}

}  // namespace

ListenerSettings::ListenerSettings(const Options& options)
    : backlog(options.backlog),
      unix_mode(options.unix_mode),
      peer_timeout(options.deadlines.peer) {}

std::string PathOfListener(const net::Listener& listener,
                           absl::string_view entry) {
  const absl::StatusOr<ListenEntry> parsed = ListenEntry::Parse(entry);
  const bool named = parsed.ok() && parsed->kind == ListenEntry::kEndpoint;
  return std::string(named ? parsed->endpoint.path()
                           : listener.endpoint().path());
}

absl::Status ApplyPeerTimeout(const ListenerSettings& settings,
                              const net::Listener& listener) {
  return settings.peer_timeout == absl::ZeroDuration()
             ? listener.ResetPeerTimeout()
             : listener.SetPeerTimeout(settings.peer_timeout);
}

void ConfigureListener(const ListenerSettings& settings,
                       absl::string_view entry, bool is_ours,
                       const net::Listener& listener, EventLog* log) {
  const std::string path = PathOfListener(listener, entry);
  if (!is_ours) {
    ReportOthersSettings(settings, path, listener, log);
    return;
  }
  const absl::Status queue = listener.SetBacklog(settings.backlog);
  if (!queue.ok()) {
    log->OptionNotApplied("backlog", listener.endpoint(), queue.message());
  }
  if (path.empty()) return;
  const absl::Status mode = net::SetModeOfFileOf(
      listener.fd(), path, static_cast<mode_t>(settings.unix_mode));
  if (!mode.ok()) {
    log->OptionNotApplied("unix_mode", listener.endpoint(), mode.message());
  }
}

}  // namespace brood::server
