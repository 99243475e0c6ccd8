// SPDX-License-Identifier: Apache-2.0

#ifndef THREADED_WORKSHOP_H_
#define THREADED_WORKSHOP_H_

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include "threaded/log.h"

namespace embedder {

// Workshop has a large heap, and threads that are busy in it.
//
// It makes a process expensive and dangerous to fork: it has `heap_bytes` of
// memory, every page of which was written to, and threads that allocate, free
// and log without a pause. The destructor waits for the threads. The caller
// owns the log, which must outlive the object.
//
// Errors: throws std::bad_alloc and std::system_error.
//
// Example:
//   Log log;
//   Workshop workshop(/*threads=*/8, /*heap_bytes=*/size_t{1} << 30, &log);
class Workshop {
 public:
  // Allocates the heap and starts the threads.
  Workshop(int threads, size_t heap_bytes, Log* log);
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;
  // Ends the threads, and waits for them.
  ~Workshop();

 private:
  // Runs in each thread until the destructor is called.
  void Work();

  Log* log_;
  std::vector<char> heap_;
  std::atomic<bool> closing_{false};
  std::vector<std::thread> threads_;
};

}  // namespace embedder

#endif  // THREADED_WORKSHOP_H_
