// SPDX-License-Identifier: Apache-2.0

#ifndef DICTIONARY_LINE_READER_H_
#define DICTIONARY_LINE_READER_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"

namespace embedder {

// LineReader returns what a client sends, line by line.
//
// Lives in the child. The caller still owns the socket, which must outlive the
// object. The object keeps the bytes of an incomplete line. Lines end with "\n"
// or "\r\n", which is removed. Not thread-safe.
//
// Errors: those of brood::net::ReadSome(), and ResourceExhausted for a line
// with more than kLongest bytes.
//
// Example:
//   LineReader reader(connection.socket());
//   absl::StatusOr<absl::optional<std::string>> line = reader.Next(deadline);
class LineReader {
 public:
  // The largest number of bytes in a line.
  static constexpr size_t kLongest = 512;

  // Reads from `socket`.
  explicit LineReader(const brood::net::Socket& socket) : socket_(socket) {}

  // Returns the next line, or nothing when the client has ended its side: a
  // line without its end is then lost.
  absl::StatusOr<absl::optional<std::string>> Next(
      brood::net::Instant deadline);

 private:
  const brood::net::Socket& socket_;
  std::string unread_;
};

}  // namespace embedder

#endif  // DICTIONARY_LINE_READER_H_
