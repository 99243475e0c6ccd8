// DictionaryHandler: a line protocol, spoken from a table.
//
//   the client says     and is told
//   DEFINE fork         = one process becomes two
//   DEFINE spoon        ? spoon
//   LIST                every word on a line of its own, then a dot
//   QUIT                bye, after as many words as it was told the meaning of
//   anything else       ! and what it may say
//
// A handler that is an object. The table was made before the fork, in the
// parent, and is shared by all; what the object changes in itself, it changes
// in the process of one client.
//
// Exit codes: kServed after QUIT or the end of the stream; kDeadlineExceeded
// for a client that says nothing for `patience`, kProtocolError for one whose
// line is too long, kPeerLost for one that vanished.
//
// Example:
//   auto table = std::make_shared<const Table>(*Table::Load("words.txt"));
//   auto server = TcpServer::Create(options, DictionaryHandler(table));

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

class DictionaryHandler {
 public:
  explicit DictionaryHandler(std::shared_ptr<const Table> table,
                             absl::Duration patience = absl::Minutes(1));

  brood::server::ExitCode operator()(brood::net::Connection& connection);

 private:
  std::string Answer(absl::string_view request);

  std::shared_ptr<const Table> table_;
  absl::Duration patience_;
  int told_ = 0;
};

}  // namespace embedder

#endif  // DICTIONARY_DICTIONARY_HANDLER_H_
