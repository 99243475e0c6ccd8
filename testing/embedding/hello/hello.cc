// SPDX-License-Identifier: Apache-2.0

#include <iostream>

#include "brood/net/io.h"
#include "brood/server/tcp_server.h"

using brood::net::Connection;
using brood::server::ExitCode;
using brood::server::TcpServer;

int main() {
  brood::server::Options options;
  options.listen = {"127.0.0.1:0"};  // port 0: a free one

  auto server = TcpServer::Create(options, [](Connection& connection) {
    // Runs in a process of its own: it may block, crash or leak.
    return brood::net::WriteFull(connection.socket(), "hello\n").ok()
               ? ExitCode::kServed
               : ExitCode::kPeerLost;
  });
  if (!server.ok()) {
    std::cerr << server.status() << std::endl;
    return 111;
  }
  std::cout << (*server)->endpoints()[0].ToString() << std::endl;
  return (*server)->Run().ok() ? 0 : 111;  // until SIGTERM
}
