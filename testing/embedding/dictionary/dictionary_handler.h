// SPDX-License-Identifier: Apache-2.0

#ifndef DICTIONARY_DICTIONARY_HANDLER_H_
#define DICTIONARY_DICTIONARY_HANDLER_H_

#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "brood/net/connection.h"
#include "brood/server/handler.h"
#include "dictionary/table.h"

namespace embedder {

// DictionaryHandler serves a line protocol from a table.
//
//   the client sends    and receives
//   DEFINE fork         = one process becomes two
//   DEFINE spoon        ? spoon
//   LIST                every word on a line of its own, then a dot
//   QUIT                bye, and how many meanings it has received
//   anything else       ! and the requests that are allowed
//
// A handler that is an object. The table is created in the parent, before the
// fork, and shared by all children; a change of the object itself is only
// visible in the process of one client.
//
// Exit codes: kServed after QUIT or the end of the stream; kDeadlineExceeded
// for a client that sends nothing for longer than `timeout`; kProtocolError for
// a line that is too long; kPeerLost for a connection that was lost.
//
// Example:
//   auto table = std::make_shared<const Table>(*Table::Load("words.txt"));
//   auto server = TcpServer::Create(options, DictionaryHandler(table));
class DictionaryHandler {
 public:
  // Serves from `table`, and ends a connection whose client sends nothing for
  // longer than `timeout`.
  explicit DictionaryHandler(std::shared_ptr<const Table> table,
                             absl::Duration timeout = absl::Minutes(1));

  // Serves one connection. Runs in the child.
  brood::server::ExitCode operator()(brood::net::Connection& connection);

 private:
  // Returns the reply to one line.
  std::string Answer(absl::string_view request);

  std::shared_ptr<const Table> table_;
  absl::Duration timeout_;
  int sent_ = 0;  // the number of meanings that were sent
};

}  // namespace embedder

#endif  // DICTIONARY_DICTIONARY_HANDLER_H_
