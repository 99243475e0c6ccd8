// Workshop: a large heap, and threads that are busy in it.
//
// All that makes it expensive and dangerous to fork a process: `heap_bytes` of
// memory whose every page was written to, and threads that allocate, free and
// log without a pause. Owns both, from its construction to its destruction,
// which waits for the threads. The log is the caller's and must outlive it.
//
// Errors: std::bad_alloc and std::system_error, if there is no room for it.
//
// Example:
//   Log log;
//   Workshop workshop(/*threads=*/8, /*heap_bytes=*/size_t{1} << 30, &log);

#ifndef THREADED_WORKSHOP_H_
#define THREADED_WORKSHOP_H_

#include <atomic>
#include <cstddef>
#include <thread>
#include <vector>

#include "threaded/log.h"

namespace embedder {

class Workshop {
 public:
  Workshop(int threads, size_t heap_bytes, Log* log);
  Workshop(const Workshop&) = delete;
  Workshop& operator=(const Workshop&) = delete;
  ~Workshop();

 private:
  void Work();

  Log* log_;
  std::vector<char> heap_;
  std::atomic<bool> closing_{false};
  std::vector<std::thread> threads_;
};

}  // namespace embedder

#endif  // THREADED_WORKSHOP_H_
