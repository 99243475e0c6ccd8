// Log: the last lines that anybody in this process has said.
//
// In memory that is allocated and freed under a lock, as in many a log. So it
// is what a process must not be forked next to: a child that is forked while
// some thread has the lock, finds it locked for ever. Thread-safe.
//
// Example:
//   Log log;
//   log.Say("begun");

#ifndef THREADED_LOG_H_
#define THREADED_LOG_H_

#include <cstddef>
#include <deque>
#include <mutex>
#include <string>

#include "absl/strings/string_view.h"

namespace embedder {

class Log {
 public:
  static constexpr size_t kLinesKept = 100;

  void Say(absl::string_view line);

  // How many lines were said, of which the last kLinesKept are kept.
  size_t said() const;

 private:
  mutable std::mutex mutex_;
  std::deque<std::string> last_;
  size_t said_ = 0;
};

}  // namespace embedder

#endif  // THREADED_LOG_H_
