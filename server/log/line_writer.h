// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_LINE_WRITER_H_
#define BROOD_SERVER_LOG_LINE_WRITER_H_

#include "absl/strings/string_view.h"

namespace brood::server {

// LineWriter writes lines to a descriptor that may stall, close or fill up, and
// never waits for it.
//
// Each line is one write(2). A line that cannot be written now and whole is
// dropped, which Write() reports: a reader that is slow, gone or out of space
// has no effect on the writer, nor has a limit on the size of files (ulimit
// -f). Neither SIGPIPE nor SIGXFSZ is raised, whatever the process does with
// these signals. Works in the parent and in a child.
//
// The descriptor is lent: its flags are shared with other processes (the user's
// shell, the children) and stay as they are. Pipes and terminals are opened a
// second time, non-blocking, for this writer alone. A descriptor that is closed
// when the writer is made stays closed for it, even if another file gets the
// number later.
//
// Example:
//   LineWriter out(STDERR_FILENO);
//   if (!out.Write("ready\n")) ++dropped;
class LineWriter {
 public:
  // Writes to `fd`.
  explicit LineWriter(int fd);
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;
  ~LineWriter();

  // Writes `line`, which ends in a newline. Returns false if it was dropped, in
  // whole or in part.
  bool Write(absl::string_view line);

  // Returns the descriptor that this writer opened for itself; -1 if it needed
  // none.
  int own_fd() const { return own_fd_; }

 private:
  enum class Kind { kClosed, kFile, kLimitedFile, kSocket, kPipe };

  const int lent_fd_;
  int own_fd_ = -1;
  Kind kind_ = Kind::kClosed;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_LINE_WRITER_H_
