// SPDX-License-Identifier: Apache-2.0

#include "brood/net/io.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/types/optional.h"

namespace brood::net {
namespace {

// Sleeps until `fd` is ready for `events` or in error, so that the next call
// does not block. Returns DeadlineExceeded after `deadline`.
absl::Status AwaitReady(int fd, short events, Instant deadline,
                        const char* call) {
  for (;;) {
    const absl::Duration left = TimeUntil(deadline, Now());
    if (left == absl::ZeroDuration()) {
      return absl::DeadlineExceededError(
          absl::StrCat(call, ": deadline passed"));
    }
    pollfd waiting = {fd, events, 0};
    const int ready =
        poll(&waiting, 1,
             left == absl::InfiniteDuration() ? -1 : KernelMilliseconds(left));
    if (ready > 0) return absl::OkStatus();
    if (ready < 0 && errno != EINTR) {
      return absl::ErrnoToStatus(errno, absl::StrCat("poll for ", call));
    }
  }
}

// Repeats `transfer(flags)`, a recv or a send, until it moves bytes or fails
// with another error than EINTR and EAGAIN. Without a deadline the call itself
// waits.
template <typename Transfer>
absl::StatusOr<size_t> MoveSome(int fd, short events, Instant deadline,
                                const char* call, Transfer transfer) {
  const int flags = deadline == Never() ? 0 : MSG_DONTWAIT;
  for (;;) {
    const ssize_t moved = TEMP_FAILURE_RETRY(transfer(flags));
    if (moved >= 0) return static_cast<size_t>(moved);
    if (errno != EAGAIN) return absl::ErrnoToStatus(errno, call);
    absl::Status ready = AwaitReady(fd, events, deadline, call);
    if (!ready.ok()) return ready;
  }
}

}  // namespace

absl::StatusOr<size_t> ReadSome(const Socket& socket, absl::Span<char> into,
                                Instant deadline) {
  return MoveSome(socket.fd(), POLLIN, deadline, "recv", [&](int flags) {
    return recv(socket.fd(), into.data(), into.size(), flags);
  });
}

absl::Status ReadFull(const Socket& socket, absl::Span<char> into,
                      Instant deadline) {
  while (!into.empty()) {
    const absl::StatusOr<size_t> got = ReadSome(socket, into, deadline);
    if (!got.ok()) return got.status();
    if (*got == 0) {
      return absl::OutOfRangeError(absl::StrCat(
          "recv: the peer ended the stream ", into.size(), " bytes early"));
    }
    into.remove_prefix(*got);
  }
  return absl::OkStatus();
}

absl::Status WriteFull(const Socket& socket, absl::string_view bytes,
                       Instant deadline) {
  while (!bytes.empty()) {
    const absl::StatusOr<size_t> sent =
        MoveSome(socket.fd(), POLLOUT, deadline, "send", [&](int flags) {
          return send(socket.fd(), bytes.data(), bytes.size(),
                      flags | MSG_NOSIGNAL);
        });
    if (!sent.ok()) return sent.status();
    bytes.remove_prefix(*sent);
  }
  return absl::OkStatus();
}

namespace {

// Receives and discards at most `max_size` bytes of a unix socket, for which
// MSG_TRUNC needs a buffer. In a separate function, so that the buffer is not
// part of the stack frame of Linger().
__attribute__((noinline)) ssize_t ReadAndForget(int fd, size_t max_size) {
  char forgotten[1024];
  return TEMP_FAILURE_RETRY(
      recv(fd, forgotten, std::min(sizeof(forgotten), max_size), MSG_DONTWAIT));
}

}  // namespace

absl::Status Linger(const Socket& socket, size_t max_size,
                    absl::Duration timeout) {
  // Set on the first wait: most clients have ended their side by now, and the
  // clock is not read for them.
  absl::optional<Instant> deadline;
  for (;;) {
    // With MSG_TRUNC, TCP discards the bytes in the kernel and needs no buffer.
    ssize_t discarded = TEMP_FAILURE_RETRY(
        recv(socket.fd(), nullptr, max_size, MSG_TRUNC | MSG_DONTWAIT));
    if (discarded < 0 && errno == EFAULT) {
      discarded = ReadAndForget(socket.fd(), max_size);
    }
    if (discarded == 0) return absl::OkStatus();
    if (discarded < 0 && errno != EAGAIN) {
      return absl::ErrnoToStatus(errno, "recv");
    }
    if (!deadline) {
      if (shutdown(socket.fd(), SHUT_WR) < 0) {
        return absl::ErrnoToStatus(errno, "shutdown");
      }
      deadline = After(Now(), timeout);
    }
    // Called after each piece too: otherwise a peer that never stops sending
    // would keep this loop running without a limit.
    absl::Status ready = AwaitReady(socket.fd(), POLLIN, *deadline, "recv");
    if (!ready.ok()) return ready;
  }
}

}  // namespace brood::net
