// SPDX-License-Identifier: Apache-2.0

#include "brood/server/log/must_not_throw.h"

#include <unistd.h>

#include <exception>

#include "absl/types/span.h"
#include "brood/server/log/event.h"
#include "brood/server/log/line_buffer.h"
#include "brood/server/log/line_writer.h"
#include "brood/server/log/text_format.h"

namespace brood::server {
namespace {

[[noreturn]] void Die(absl::string_view name, absl::string_view what) {
  char memory[kMaxTextLine];
  LineBuffer line(absl::MakeSpan(memory).first(sizeof(memory) - 1));
  AppendMessage(Event(LogLevel::kError, "", "brood: {} threw an exception: {}")
                    .AddPhrase(name)
                    .AddPhrase(what),
                line);
  memory[line.size()] = '\n';
  LineWriter(STDERR_FILENO).Write({memory, line.size() + 1});
  std::terminate();
}

}  // namespace

void CallMustNotThrow(absl::string_view name,
                      absl::FunctionRef<void()> function) noexcept {
  try {
    function();
  } catch (const std::exception& exception) {
    Die(name, exception.what());
  } catch (...) {
    Die(name, "an object that is no std::exception");
  }
}

}  // namespace brood::server
