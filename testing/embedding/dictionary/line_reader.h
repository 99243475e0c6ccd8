// SPDX-License-Identifier: Apache-2.0

// LineReader: what a client sends, line by line.
//
// Lives in the child. The socket stays the caller's and must outlive it; bytes
// that are no whole line yet are kept here. Lines end with "\n" or "\r\n",
// which is taken off. Not thread-safe.
//
// Errors: those of brood::net::ReadSome(), and ResourceExhausted for a line
// with more than kLongest bytes.
//
// Example:
//   LineReader reader(connection.socket());
//   absl::StatusOr<absl::optional<std::string>> line = reader.Next(deadline);

#ifndef DICTIONARY_LINE_READER_H_
#define DICTIONARY_LINE_READER_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/net/socket.h"

namespace embedder {

class LineReader {
 public:
  static constexpr size_t kLongest = 512;

  explicit LineReader(const brood::net::Socket& socket) : socket_(socket) {}

  // Nothing once the client has ended its side; a line that it left unended is
  // lost.
  absl::StatusOr<absl::optional<std::string>> Next(
      brood::net::Instant deadline);

 private:
  const brood::net::Socket& socket_;
  std::string unread_;
};

}  // namespace embedder

#endif  // DICTIONARY_LINE_READER_H_
