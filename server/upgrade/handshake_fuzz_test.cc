// What holds for Predecessor::Find() whatever BROOD_UPGRADE says: the variable
// is gone, and there is a listener for each line, or an error and no descriptor
// that it spoke of is left open. What it finds it introduces as it was found.

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
#include "brood/proc/program.h"
#include "brood/server/upgrade/handshake.h"
#include "brood/testing/fuzz/require.h"
#include "brood/testing/fuzz/staged_process.h"

namespace {

using brood::proc::Program;
using brood::server::HandedListener;
using brood::server::Predecessor;
using brood::testing::Require;
using brood::testing::StagedProcess;

constexpr int kFirst = StagedProcess::kFirst;
constexpr int kCount = StagedProcess::kCount;

std::vector<std::string> EntriesOf(
    const std::vector<HandedListener>& listeners) {
  std::vector<std::string> entries;
  for (const HandedListener& listener : listeners) {
    entries.push_back(listener.entry);
  }
  return entries;
}

// What a program finds that `variable` says something to; empty if that is an
// error.
std::vector<std::string> Find(const std::string& variable,
                              std::string* introduced) {
  const StagedProcess staged({"PATH=/", variable});
  absl::StatusOr<Predecessor> found = Predecessor::Find();
  Require(!Predecessor::Expected(), "no child sees the variable", variable);
  if (!found.ok()) {
    Require(absl::IsInvalidArgument(found.status()) &&
                absl::StartsWith(found.status().message(), "BROOD_UPGRADE: "),
            "an error is an invalid argument that names the variable",
            variable);
    brood::testing::RequireOneLine(found.status());
    Require(StagedProcess::AreClosed(kFirst, kCount + 1),
            "an error leaves nothing open", variable);
    return {};
  }
  const std::vector<HandedListener> listeners = found->TakeListeners();
  const int count = static_cast<int>(listeners.size());
  for (int i = 0; i < count; ++i) {
    Require(listeners[i].fd == kFirst + 1 + i, "they come in order", variable);
  }
  found->SayReady();
  Require(StagedProcess::AreClosed(kFirst, 1), "its last word is said once",
          variable);
  Require(StagedProcess::AreTaken(kFirst + 1, count),
          "listeners are the caller's, and for no child", variable);
  Require(StagedProcess::AreUntouched(kFirst + 1 + count, kCount - 1 - count),
          "what is not meant is left alone", variable);

  Program program;
  Predecessor::Introduce(/*ready_fd=*/77, listeners, &program);
  Require(program.fds.size() == listeners.size() + 1 &&
              program.fds.front() == 77 && program.environment.size() == 2,
          "a successor gets all that we got, and a word", variable);
  *introduced = program.environment.back();
  return EntriesOf(listeners);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  absl::string_view text(reinterpret_cast<const char*>(bytes), size);
  text = text.substr(0, text.find('\0'));  // a variable can't hold one
  const std::vector<std::string> lines =
      absl::StrSplit(text, '\n', absl::SkipEmpty());
  const bool all_there = lines.size() < kCount;
  std::string introduced;
  const std::vector<std::string> found =
      Find(absl::StrCat("BROOD_UPGRADE=", text), &introduced);
  Require(found == (all_there ? lines : std::vector<std::string>()),
          "there is a listener for each line", text);
  Require(introduced.empty() != all_there,
          "too many listeners are an error, and nothing else is", text);
  if (!all_there) return 0;
  std::string again;
  Require(Find(introduced, &again) == found && again == introduced,
          "a successor finds what its predecessor found", introduced);
  return 0;
}
