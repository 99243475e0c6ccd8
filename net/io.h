// SPDX-License-Identifier: Apache-2.0

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

// Reads what has arrived, at least one byte and at most `into.size()`. Returns
// the number of bytes; 0 means that the peer will send no more.
//
// The functions of this file are the loops over recv and send, for handlers in
// the child. They work on blocking and non-blocking sockets alike, handle EINTR
// and short transfers, and raise no SIGPIPE. The caller still owns the socket.
//
// Errors, all naming the call: DeadlineExceeded if no more bytes came or went
// before `deadline`; otherwise the errno of recv, send or shutdown, as a status
// of absl::ErrnoToStatus (a reset by the peer is Unavailable).
//
// Example, a handler that answers the first four bytes:
//   char request[4];
//   const Instant deadline = After(Now(), absl::Seconds(5));
//   absl::Status status =
//       ReadFull(connection.socket(), absl::MakeSpan(request), deadline);
//   if (status.ok()) status = WriteFull(connection.socket(), "pong", deadline);
absl::StatusOr<size_t> ReadSome(const Socket& socket, absl::Span<char> into,
                                Instant deadline = Never());

// Reads until `into` is full. Returns OutOfRange, with the number of missing
// bytes, if the peer ends the stream before that.
absl::Status ReadFull(const Socket& socket, absl::Span<char> into,
                      Instant deadline = Never());

// Writes all of `bytes`. After an error an unknown number of them was sent.
absl::Status WriteFull(const Socket& socket, absl::string_view bytes,
                       Instant deadline = Never());

// Shuts down the sending side, then discards what the peer still sends, at most
// `max_size` bytes at a time, until the peer ends its side too, or for at most
// `timeout`. Without this, a close with unread bytes resets the connection, and
// the reset can overtake a reply that is still on its way.
absl::Status Linger(const Socket& socket, size_t max_size,
                    absl::Duration timeout);

}  // namespace brood::net

#endif  // BROOD_NET_IO_H_
