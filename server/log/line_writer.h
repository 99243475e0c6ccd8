// LineWriter: writes lines to a descriptor that may stall, close or fill up,
// and never waits for it.
//
// One write(2) for each line. A line that can't be written now and whole is
// dropped, and Write() says so; whoever reads at the other end can be slow,
// gone or out of space without any effect on the one who writes. No SIGPIPE
// comes of it, whatever the process does with that signal. Works in either
// process.
//
// The descriptor is lent: its flags are shared with other processes (the user's
// shell, the children) and are left as they are. Pipes and terminals are opened
// a second time, non-blocking, for this writer alone. A descriptor that is
// closed when the writer is made stays so for it, whoever gets the number
// later.
//
// Example:
//   LineWriter out(STDERR_FILENO);
//   if (!out.Write("ready\n")) ++dropped;

#ifndef BROOD_SERVER_LOG_LINE_WRITER_H_
#define BROOD_SERVER_LOG_LINE_WRITER_H_

#include "absl/strings/string_view.h"

namespace brood::server {

class LineWriter {
 public:
  explicit LineWriter(int fd);
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;
  ~LineWriter();

  // `line` ends in a newline. False if it was dropped, in whole or in part.
  bool Write(absl::string_view line);

  // The descriptor that this writer opened for itself; -1 if it needed none.
  int own_fd() const { return own_fd_; }

 private:
  enum class Kind { kClosed, kFile, kSocket, kPipe };

  const int lent_fd_;
  int own_fd_ = -1;
  Kind kind_ = Kind::kClosed;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_LINE_WRITER_H_
