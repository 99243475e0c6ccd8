// SPDX-License-Identifier: Apache-2.0

#ifndef THREADED_LOG_H_
#define THREADED_LOG_H_

#include <cstddef>
#include <deque>
#include <mutex>
#include <string>

#include "absl/strings/string_view.h"

namespace embedder {

// Log keeps the last lines that any part of this process has logged.
//
// It allocates and frees memory under a lock, as many logs do. So a process
// with threads that use it must not fork: in a child that is forked while a
// thread has the lock, no thread unlocks it. Thread-safe.
//
// Example:
//   Log log;
//   log.Say("begun");
class Log {
 public:
  // How many lines are kept, at most.
  static constexpr size_t kLinesKept = 100;

  // Adds a line.
  void Say(absl::string_view line);

  // Returns how many lines were added. The last kLinesKept are kept.
  size_t said() const;

 private:
  mutable std::mutex mutex_;
  std::deque<std::string> last_;
  size_t said_ = 0;
};

}  // namespace embedder

#endif  // THREADED_LOG_H_
