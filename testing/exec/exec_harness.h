// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_EXEC_EXEC_HARNESS_H_
#define BROOD_TESTING_EXEC_EXEC_HARNESS_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "brood/net/endpoint.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/server_program.h"
#include "brood/testing/test_client.h"
#include "gtest/gtest.h"

namespace brood::testing {

// ExecTest is the base class of the tests of programs that the server executes.
// Most execute the probe, which prints what it finds, or behaves as its
// arguments say; see probe.cc.
//
// The server is another process. Errors fail the test.
//
// Example:
//   TEST_F(ExecTest, ...) {
//     const auto server = Start({"--listen=:0"}, {kProbe, "facts"});
//     EXPECT_THAT(Facts(server->endpoint()), HasSubstr("..."));
//   }
class ExecTest : public LeakCheck {
 protected:
  // The path of the probe.
  static constexpr char kProbe[] = "testing/exec/probe";
  // The strategies that can execute programs.
  static constexpr char kStrategies[][8] = {"fork", "spares", "zygote", "auto"};

  // Starts a server with `flags` that executes `program`.
  static std::unique_ptr<ServerProgram> Start(
      const std::vector<std::string>& flags,
      const std::vector<std::string>& program) {
    std::vector<std::string> command = {ServerProgram::Path()};
    command.insert(command.end(), flags.begin(), flags.end());
    command.push_back("--");
    command.insert(command.end(), program.begin(), program.end());
    auto server = ServerProgram::Start(std::move(command));
    EXPECT_THAT(server, IsOk());
    return server.ok() ? *std::move(server) : nullptr;
  }

  // Returns a client of `endpoint`.
  static TestClient Connect(const net::Endpoint& endpoint) {
    return *TestClient::Connect(endpoint);
  }

  // Returns what the probe prints to a client of `endpoint`, with the port of
  // the client in place of PEERPORT.
  static std::string Facts(const net::Endpoint& endpoint) {
    TestClient client = Connect(endpoint);
    const std::string facts = *client.ReadUntilEof();
    if (endpoint.is_unix()) return facts;
    return absl::StrReplaceAll(
        facts, {{absl::StrCat("PORT=", client.endpoint().port(), "\n"),
                 "PORT=PEERPORT\n"}});
  }
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_EXEC_EXEC_HARNESS_H_
