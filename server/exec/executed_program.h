// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_EXEC_EXECUTED_PROGRAM_H_
#define BROOD_SERVER_EXEC_EXECUTED_PROGRAM_H_

#include <string>
#include <vector>

#include "brood/net/connection.h"
#include "brood/server/exec/variables.h"

namespace brood::server {

// ExecutedProgram is a program that serves connections, and how it is executed:
// everything that is the same for each connection.
//
// A value, made in the parent, which does not change afterwards. No errors.
//
// Example: see exec_handler.cc.
struct ExecutedProgram {
  // The variables that a program of another kind than those for tcpserver
  // expects.
  enum class Extra {
    kNone,
    kRemoteHost,  // those of inetd
    kListenFds,   // those of systemd, which contain the pid
  };

  // The path of the file, and the arguments; the first one is the name.
  std::string path;
  std::vector<std::string> arguments;
  // The variables, each "NAME=VALUE", that do not depend on the connection.
  std::vector<std::string> variables;
  // The signals that stay ignored, because they were when the server started.
  std::vector<int> ignored_signals;
  // The numbers of descriptors that are the connection, in ascending order.
  std::vector<int> descriptors;
  // Whether the program must lead a session.
  bool begins_session = false;
  // The working directory; if empty, that of the server.
  std::string directory;
  // The variables beside those that each program gets.
  Extra extra = Extra::kNone;

  // Adds the variables that describe `connection` to `variables`. Called in the
  // process that executes the program, or in its parent if extra is not
  // kListenFds.
  void AddVariables(const net::Connection& connection,
                    Variables* variables) const;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_EXEC_EXECUTED_PROGRAM_H_
