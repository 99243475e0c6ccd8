// SPDX-License-Identifier: Apache-2.0

// The loops over recv and send: whole messages, with a deadline.
//
// For handlers, in the child; and for tests. They work on blocking and
// non-blocking sockets alike, take EINTR and short transfers on themselves, and
// raise no SIGPIPE. The socket stays the caller's. Lengths are in bytes.
//
// Errors, all naming the call:
//   DeadlineExceeded  nothing (more) came or went until the deadline
//   OutOfRange        ReadFull: the peer ended the stream in the middle
//   others            the errno of recv, send or shutdown, turned into a status
//                     by absl::ErrnoToStatus (a reset by the peer is
//                     Unavailable)
//
// Example, a handler that answers the first four bytes:
//   char request[4];
//   const Instant deadline = After(Now(), absl::Seconds(5));
//   absl::Status status =
//       ReadFull(connection.socket(), absl::MakeSpan(request), deadline);
//   if (status.ok()) status = WriteFull(connection.socket(), "pong", deadline);

#ifndef BROOD_NET_IO_H_
#define BROOD_NET_IO_H_

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"

namespace brood::net {

// Reads what there is, at least one byte and at most `into.size()`. Gives the
// number of bytes; 0 means that the peer will send no more.
absl::StatusOr<size_t> ReadSome(const Socket& socket, absl::Span<char> into,
                                Instant deadline = Never());

// Reads until `into` is full.
absl::Status ReadFull(const Socket& socket, absl::Span<char> into,
                      Instant deadline = Never());

// Writes all of `bytes`.
absl::Status WriteFull(const Socket& socket, absl::string_view bytes,
                       Instant deadline = Never());

// Tells the peer that no more bytes will come, then throws away what it still
// sends, at most `max_size` bytes at a time, until it ends its side too, or
// until `patience` is over. Without this a close with unread bytes resets the
// connection, and the reset can overtake a reply that is still on its way.
absl::Status Linger(const Socket& socket, size_t max_size,
                    absl::Duration patience);

}  // namespace brood::net

#endif  // BROOD_NET_IO_H_
