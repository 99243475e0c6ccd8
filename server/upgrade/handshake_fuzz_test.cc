// SPDX-License-Identifier: Apache-2.0

// Tests Handshake::Receive() with any BROOD_UPGRADE: the variable is removed,
// and each line becomes a listener, or there is an error and no descriptor is
// left open. Handshake::MakeOffer() offers the received listeners unchanged.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "brood/proc/program.h"
#include "brood/server/inherited_listener.h"
#include "brood/server/listening/lent_listener.h"
#include "brood/server/upgrade/handshake.h"
#include "brood/testing/fuzz/require.h"
#include "brood/testing/fuzz/staged_process.h"

namespace {

using brood::proc::Program;
using brood::server::Handshake;
using brood::server::InheritedListener;
using brood::server::LentListener;
using brood::testing::Require;
using brood::testing::StagedProcess;

constexpr int kFirst = StagedProcess::kFirst;
constexpr int kCount = StagedProcess::kCount;

std::vector<std::string> EntriesOf(
    const std::vector<InheritedListener>& listeners) {
  std::vector<std::string> entries;
  for (const InheritedListener& listener : listeners) {
    entries.push_back(listener.entry);
  }
  return entries;
}

// Returns the entries that a program receives by `variable`; none if that is an
// error. Sets `*sent` to the variable that the program sends to the next one.
std::vector<std::string> Receive(const std::string& variable,
                                 std::string* sent) {
  const StagedProcess staged({"PATH=/", variable});
  absl::StatusOr<Handshake> received = Handshake::Receive();
  Require(!Handshake::IsPending(), "no child sees the variable", variable);
  if (!received.ok()) {
    Require(
        absl::IsInvalidArgument(received.status()) &&
            absl::StartsWith(received.status().message(), "BROOD_UPGRADE: "),
        "an error is an invalid argument that names the variable", variable);
    brood::testing::RequireOneLine(received.status());
    Require(StagedProcess::AreClosed(kFirst, kCount + 1),
            "an error leaves nothing open", variable);
    return {};
  }
  const std::vector<InheritedListener> listeners = received->TakeListeners();
  const int count = static_cast<int>(listeners.size());
  for (int i = 0; i < count; ++i) {
    Require(listeners[i].socket.fd() == kFirst + 1 + i, "they come in order",
            variable);
  }
  received->ReportReady();
  *received = Handshake();
  Require(StagedProcess::AreClosed(kFirst, 1), "the handshake is over",
          variable);
  Require(StagedProcess::AreTaken(kFirst + 1, count),
          "listeners are the caller's, and for no child", variable);
  Require(StagedProcess::AreUntouched(kFirst + 1 + count, kCount - 1 - count),
          "what is not meant is left alone", variable);

  std::vector<LentListener> lent;
  for (const InheritedListener& listener : listeners) {
    lent.push_back(
        {listener.socket.fd(), listener.entry, listener.ends_with_server});
  }
  const Program program = Handshake::MakeProgram(
      {"/program"}, "", Handshake::MakeOffer(/*ready_fd=*/77, lent));
  Require(program.fds.size() == listeners.size() + 1 &&
              program.fds.front() == 77 && program.environment.size() == 2,
          "a successor gets all that was received, and the variable", variable);
  *sent = program.environment.back();
  return EntriesOf(listeners);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  absl::string_view text(reinterpret_cast<const char*>(bytes), size);
  text = text.substr(0, text.find('\0'));  // a variable can't hold one
  std::vector<std::string> lines =
      absl::StrSplit(text, '\n', absl::SkipEmpty());
  for (std::string& line : lines) {
    line = std::string(absl::StripSuffix(line, "\tbound"));
  }
  const bool all_there = lines.size() < kCount;
  std::string sent;
  const std::vector<std::string> received =
      Receive(absl::StrCat("BROOD_UPGRADE=", text), &sent);
  Require(received == (all_there ? lines : std::vector<std::string>()),
          "there is a listener for each line", text);
  Require(sent.empty() != all_there,
          "too many listeners are an error, and nothing else is", text);
  if (!all_there) return 0;
  std::string again;
  Require(Receive(sent, &again) == received && again == sent,
          "a successor receives what this program received", sent);
  return 0;
}
