// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_ATTACKS_SYSTEM_CALL_PROXY_H_
#define BROOD_TESTING_ATTACKS_SYSTEM_CALL_PROXY_H_

#include <cstddef>
#include <cstdint>

#include "brood/net/connection.h"
#include "brood/server/handler.h"

namespace brood::testing {

// ProxyCommand is a command of a client to SystemCallProxy(). It is sent as its
// bytes in memory, because both ends are processes of one program. `size` bytes
// follow it.
struct ProxyCommand {
  // Kind is what the process does. It sends a ProxyAnswer for each command,
  // unless the comment says that there is no answer.
  enum class Kind : uint32_t {
    // Calls `number` with `arguments`.
    kCall,
    // Calls `number` until it fails, `size` times at most. No bytes follow the
    // command. The answer has the number of calls that succeeded.
    kRepeat,
    // Calls `number` without end. There is no answer.
    kFlood,
    // Calls `number` in a child of this process. The answer is that of the
    // call.
    kCallInChild,
    // Answers with the `arguments[1]` bytes at the address `arguments[0]`.
    kRead,
    // Stores the bytes that follow at the address `arguments[0]`.
    kWrite,
    // Clones the process with the flags `number`, which have the exit signal.
    // The new process exits at once. `arguments[0]` is how often. The answer
    // has the pid of the last one.
    kCloneAndExit,
    // Clones the process in the same way, once. The new process waits until it
    // is killed.
    kCloneAndWait,
    // Clones the process in the same way. The new process obeys the client from
    // now on, and answers. The old one exits with the code `arguments[0]`,
    // without a return to the server's code.
    kCloneAndObey,
    // Returns from the handler with the exit code `arguments[0]`. No answer.
    kReturn,
  };

  Kind kind;
  uint32_t unused;
  int64_t number;
  uint64_t arguments[6];
  uint64_t size;
};

// ProxyAnswer is the result of a command. For kRead, `value` bytes follow it if
// `value` is positive.
struct ProxyAnswer {
  int64_t value;
  int64_t error;  // errno, if `value` is -1
};

// Obeys the client of `connection`: executes any system call and reads or
// writes any memory, as code of an attacker in this process could. Runs in the
// child, as a handler or as a part of one, and returns when the client asks for
// that or has closed. A command with an invalid address fails. Errors of the
// connection end it.
//
// Example:
//   setup.handler = SystemCallProxy;
server::ExitCode SystemCallProxy(net::Connection& connection);

}  // namespace brood::testing

#endif  // BROOD_TESTING_ATTACKS_SYSTEM_CALL_PROXY_H_
