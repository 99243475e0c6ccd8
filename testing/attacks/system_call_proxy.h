// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_ATTACKS_SYSTEM_CALL_PROXY_H_
#define BROOD_TESTING_ATTACKS_SYSTEM_CALL_PROXY_H_

#include <cstddef>
#include <cstdint>

#include "brood/net/connection.h"
#include "brood/server/handler.h"

namespace brood::testing {

// ProxyCommand is what a client asks of SystemCallProxy(). It travels as it is,
// because both ends are processes of one program. `size` bytes follow it.
struct ProxyCommand {
  // Kind is what the process does. Each is answered by a ProxyAnswer, except
  // where the comment says otherwise.
  enum class Kind : uint32_t {
    // Calls `number` with `arguments`.
    kCall,
    // Calls it until it has failed or was called `size` times, with no bytes
    // after the command. The answer has the number of calls that succeeded.
    kRepeat,
    // Calls it for good. There is no answer.
    kFlood,
    // Calls it in a child of this process. The answer is that of the call.
    kCallInChild,
    // Answers with the `arguments[1]` bytes at the address `arguments[0]`.
    kRead,
    // Stores the bytes that follow at the address `arguments[0]`.
    kWrite,
    // Clones the process with the flags `number`, which have the exit signal.
    // The new process exits at once. `arguments[0]` is how often. The answer
    // has the pid of the last one.
    kCloneAndExit,
    // Clones it in the same way, once, and the new process waits for good.
    kCloneAndWait,
    // Clones it in the same way. The new process obeys the client from now on,
    // and answers; the old one exits with the code `arguments[0]`, without a
    // return to the server's code.
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
// that or is gone. The address that a command reads or writes may be invalid,
// which is an error of the command. Errors of the connection end it.
//
// Example:
//   setup.handler = SystemCallProxy;
server::ExitCode SystemCallProxy(net::Connection& connection);

}  // namespace brood::testing

#endif  // BROOD_TESTING_ATTACKS_SYSTEM_CALL_PROXY_H_
