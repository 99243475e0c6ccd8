// SPDX-License-Identifier: Apache-2.0

// Checks TakeInheritedSockets() with any values of the variables: the variables
// are removed, and each descriptor is taken, closed or left alone as they
// require.
//
// An input is PID|FDS|NAMES, the values of LISTEN_PID, LISTEN_FDS and
// LISTEN_FDNAMES; "?" stands for a variable that is not set, as is one that is
// left out at the end. A LISTEN_PID of "self" is the number of this process.

#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "brood/net/listen_fds.h"
#include "brood/testing/fuzz/require.h"
#include "brood/testing/fuzz/staged_process.h"

namespace {

using brood::net::InheritedSocket;
using brood::net::TakeInheritedSockets;
using brood::testing::Require;
using brood::testing::StagedProcess;

constexpr const char* kVariables[] = {"LISTEN_PID", "LISTEN_FDS",
                                      "LISTEN_FDNAMES"};
constexpr int kFirst = StagedProcess::kFirst;
constexpr int kCount = StagedProcess::kCount;

struct Input {
  std::vector<std::string> environment;
  bool for_us = false;  // there are descriptors for this process
  bool for_another = false;
  bool says_none = false;
  int meant = 0;  // how many, if the text is a number
  bool has_names = false;
  std::string names;
};

Input Read(absl::string_view text) {
  Input input;
  // A variable can't hold a NUL.
  const std::vector<std::string> values =
      absl::StrSplit(text.substr(0, text.find('\0')), absl::MaxSplits('|', 2));
  std::string pid = "?";
  std::string fds = "?";
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i] == "?") continue;
    const bool self = i == 0 && values[i] == "self";
    const std::string value = self ? absl::StrCat(getpid()) : values[i];
    input.environment.push_back(absl::StrCat(kVariables[i], "=", value));
    if (i == 0) pid = value;
    if (i == 1) fds = value;
    if (i == 2) input.has_names = true;
    if (i == 2) input.names = value;
  }
  int number = 0;
  // A number beyond the range of int does not identify descriptors.
  if (absl::SimpleAtoi(fds, &number) && absl::StrCat(number) == fds &&
      number <= INT_MAX - kFirst) {
    input.meant = std::max(0, number);
  }
  input.says_none = fds == "0";
  input.for_us = pid == absl::StrCat(getpid()) && fds != "?";
  input.for_another =
      pid == "?" || (!input.for_us && absl::SimpleAtoi(pid, &number) &&
                     number > 0 && absl::StrCat(number) == pid);
  return input;
}

// Requires that `sockets` are the descriptors of `input`.
void RequireTaken(const Input& input,
                  const std::vector<InheritedSocket>& sockets) {
  const int count = static_cast<int>(sockets.size());
  Require(input.for_us ? count == input.meant : count == 0,
          "all descriptors for this process are taken");
  Require(count > 0 || !input.for_us || input.says_none,
          "a descriptor is taken unless LISTEN_FDS is 0");
  std::vector<std::string> names;
  for (int i = 0; i < count; ++i) {
    Require(sockets[i].socket.fd() == kFirst + i,
            "the descriptors are in order");
    names.push_back(sockets[i].name);
  }
  Require(input.has_names || absl::StrJoin(names, "").empty(),
          "there are no names without LISTEN_FDNAMES");
  Require(!input.has_names || count == 0 ||
              absl::StrJoin(names, ":") == input.names,
          "the names are those that were given", input.names);
  Require(StagedProcess::AreTaken(kFirst, count),
          "each descriptor is close-on-exec");
  Require(StagedProcess::AreUntouched(kFirst + count, kCount - count),
          "other descriptors are left alone");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const Input input =
      Read(absl::string_view(reinterpret_cast<const char*>(bytes), size));
  const StagedProcess staged(input.environment);
  int gone = 0;
  std::string ignored;
  {
    const absl::StatusOr<std::vector<InheritedSocket>> sockets =
        TakeInheritedSockets(&ignored);
    for (const char* variable : kVariables) {
      Require(getenv(variable) == nullptr, "the variables are removed");
    }
    if (sockets.ok()) {
      Require(
          input.for_us || input.for_another,
          "without an error the variables are for this process or another one");
      RequireTaken(input, *sockets);
      Require(
          ignored.empty() == (input.environment.empty() || !sockets->empty()),
          "ignored variables have a reason", ignored);
      Require(ignored.find('\n') == std::string::npos, "a reason is one line",
              ignored);
      gone = static_cast<int>(sockets->size());
    } else {
      Require(absl::IsInvalidArgument(sockets.status()) &&
                  absl::StartsWith(sockets.status().message(), "LISTEN_"),
              "an error is an invalid argument that names its variable");
      brood::testing::RequireOneLine(sockets.status());
      Require(!input.for_another,
              "variables for another process are not an error");
      // The descriptors that the input may stand for: no more than are open.
      if (input.for_us) gone = std::min(input.meant, kCount);
    }
  }
  Require(StagedProcess::AreClosed(kFirst, gone),
          "descriptors of the input are closed when they have no owner");
  Require(StagedProcess::AreUntouched(kFirst + gone, kCount - gone),
          "other descriptors are left alone");
  Require(StagedProcess::AreClosed(StagedProcess::kFree, 1),
          "no other descriptor is opened");
  return 0;
}
