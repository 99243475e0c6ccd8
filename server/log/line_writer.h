// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_LINE_WRITER_H_
#define BROOD_SERVER_LOG_LINE_WRITER_H_

#include <sys/types.h>

#include <array>
#include <utility>

#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "brood/server/log/output/log_descriptor.h"

namespace brood::server {

// LineWriter writes lines to a file that may stall, close or fill up, and never
// waits for it.
//
// Each line is one write (to the terminal of another user, several). A line
// that cannot be written at once and whole is dropped, which Write() reports.
// So a reader that is slow or gone, a full disk, other writers, and a limit on
// the size of files (ulimit -f) never block the writer. Neither SIGPIPE nor
// SIGXFSZ is raised, whatever the process does with these signals. Works in the
// parent and in a child.
//
// The flags of a descriptor are shared with other processes (the user's shell,
// the children), and are not changed; log_descriptor.h describes how. If the
// descriptor is closed when the writer is created, the writer drops every line,
// even if another file gets the number later.
//
// Example:
//   LineWriter out(LogDescriptor::OpenAgain(STDERR_FILENO));
//   if (!out.Write("ready\n")) ++dropped;
class LineWriter {
 public:
  // Writes to `fd`, which is lent.
  explicit LineWriter(int fd) : LineWriter(LogDescriptor::Borrow(fd)) {}
  // Writes to `log`.
  explicit LineWriter(LogDescriptor log) : log_(std::move(log)) {}
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // Writes `line`, which ends in a newline. Returns false if it was dropped, in
  // whole or in part.
  bool Write(absl::string_view line);

  // Returns the file to which lines are written; nothing if there is none.
  const absl::optional<FileId>& file() const { return log_.file(); }
  // Returns the descriptors that were opened for this writer; see
  // LogDescriptor.
  std::array<int, 3> own_fds() const { return log_.own_fds(); }
  // Returns the first of these; -1 if none was opened.
  int own_fd() const { return own_fds()[0]; }

 private:
  // Writes `line` to a file by one call, and returns what the call returns.
  ssize_t WriteToFile(absl::string_view line) const;
  // Does the same for a pipe of another user.
  ssize_t WriteToPipe(absl::string_view line) const;
  // Does the same for such a pipe on an older kernel.
  ssize_t SpliceToPipe(absl::string_view line) const;
  // Writes `line` to the terminal of another user, and returns how much of it
  // was written.
  ssize_t WriteToTerminal(absl::string_view line) const;

  const LogDescriptor log_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_LINE_WRITER_H_
