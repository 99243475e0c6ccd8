// SPDX-License-Identifier: Apache-2.0

// What a program finds, in each style and for each kind of address.

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "brood/net/endpoint.h"
#include "brood/testing/exec/exec_harness.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/short_dir.h"
#include "gtest/gtest.h"

namespace brood::testing {
namespace {

std::string WorkingDirectory() {
  char directory[4096];
  return getcwd(directory, sizeof(directory));
}

// The lines that the probe prints, for one style and kind of address.
struct Golden {
  std::string style;
  std::string listen;
  // The address that the client connects to, if not the endpoint of the server.
  std::string connect;
  std::string variables;
  std::string descriptors;
  std::string surroundings;
};

std::string TcpVariables(const std::string& address,
                         const std::string& before = "",
                         const std::string& host = "") {
  return absl::StrCat(
      "A=1 2\nB=\n", before, "PROTO=TCP\nREMOTE_ADDR=", address, "\n", host,
      "REMOTE_PORT=PEERPORT\nTCPCONCURRENCY=1\nTCPCONNNUM=0\n"
      "TCPLOCALIP=",
      address, "\nTCPLOCALPORT=SERVERPORT\nTCPREMOTEIP=", address,
      "\nTCPREMOTEPORT=PEERPORT\n");
}

class ExecGoldenTest : public ExecTest {
 protected:
  // Sets variables that describe another connection or that are meant for the
  // server itself, which programs must not get.
  ExecGoldenTest() {
    setenv("TCPREMOTEIP", "192.0.2.99", 1);
    setenv("TCPREMOTEHOST", "stale", 1);
    setenv("REMOTE_HOST", "stale", 1);
    setenv("SECRET", "1", 1);
    umask(027);
  }

  void ExpectFacts(const Golden& golden, const std::string& strategy) {
    SCOPED_TRACE(absl::StrCat(golden.style, " ", golden.listen, " ", strategy));
    const auto server = Start({absl::StrCat("--strategy=", strategy),
                               absl::StrCat("--listen=", golden.listen),
                               absl::StrCat("--exec_style=", golden.style),
                               "--env=A=1 2", "--env=B=x", "--env=B="},
                              {kProbe, "facts", "", "two words"});
    ASSERT_NE(server, nullptr);
    const net::Endpoint& endpoint = server->endpoint();
    const std::string facts = Facts(
        golden.connect.empty()
            ? endpoint
            : net::Endpoint::Parse(golden.connect)->WithPort(endpoint.port()));
    const std::string expected =
        absl::StrCat("argument ", golden.style == "inetd" ? "probe" : kProbe,
                     "\nargument facts\nargument \nargument two words\n",
                     golden.variables, golden.descriptors,
                     "SigPnd: 0000000000000000\nSigBlk: 0000000000000000\n"
                     "SigIgn: 0000000000000000\nSigCgt: 0000000000000000\n",
                     golden.surroundings, "umask 27\n");
    EXPECT_EQ(facts,
              absl::StrReplaceAll(
                  expected, {{"SERVERPORT", absl::StrCat(endpoint.port())}}));
    EXPECT_THAT(server->Stop(), IsOk());
  }

  const std::string ucspi_fds_ =
      "descriptor 0: the connection\ndescriptor 1: the connection\n"
      "descriptor 2: no socket\n";
  const std::string own_group_ = absl::StrCat(
      "group own, session inherited\ndirectory ", WorkingDirectory(), "\n");
  const std::string own_session_ = absl::StrCat(
      "group own, session own\ndirectory ", WorkingDirectory(), "\n");
  const ShortDir dir_;
};

TEST_F(ExecGoldenTest, Ucspi) {
  const std::string path = dir_.Socket("s").ToString();
  const std::string unix_variables = absl::StrCat(
      "A=1 2\nB=\nIPCLOCALPATH=", path.substr(5), "\nIPCREMOTEEGID=", getegid(),
      "\nIPCREMOTEEUID=", geteuid(), "\nPROTO=IPC\n");
  for (const char* const strategy : kStrategies) {
    for (const Golden& golden : {
             Golden{"ucspi", "127.0.0.1:0", "", TcpVariables("127.0.0.1"),
                    ucspi_fds_, own_group_},
             Golden{"ucspi", "[::1]:0", "", TcpVariables("::1"), ucspi_fds_,
                    own_group_},
             // An IPv4 client of a listener for IPv6 and IPv4.
             Golden{"ucspi", ":0", "127.0.0.1:1", TcpVariables("127.0.0.1"),
                    ucspi_fds_, own_group_},
             Golden{"ucspi", path, "", unix_variables, ucspi_fds_, own_group_},
         }) {
      ExpectFacts(golden, strategy);
    }
  }
}

TEST_F(ExecGoldenTest, Inetd) {
  for (const char* const strategy : kStrategies) {
    ExpectFacts(
        {"inetd", "[::1]:0", "", TcpVariables("::1", "", "REMOTE_HOST=::1\n"),
         "descriptor 0: the connection\ndescriptor 1: the connection\n"
         "descriptor 2: the connection\n",
         "group own, session own\ndirectory /\n"},
        strategy);
  }
}

TEST_F(ExecGoldenTest, Systemd) {
  for (const char* const strategy : kStrategies) {
    ExpectFacts({"systemd", "127.0.0.1:0", "",
                 TcpVariables("127.0.0.1",
                              "LISTEN_FDNAMES=connection\nLISTEN_FDS=1\n"
                              "LISTEN_PID=own\n"),
                 absl::StrCat(ucspi_fds_, "descriptor 3: the connection\n"),
                 own_session_},
                strategy);
  }
}

}  // namespace
}  // namespace brood::testing
