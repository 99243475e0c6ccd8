// SPDX-License-Identifier: Apache-2.0

#include "brood/server/command_line/handler_from_flags.h"

#include <string>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "brood/server/command_line/flags.h"
#include "brood/server/echo_handler.h"
#include "brood/server/exec_handler.h"

namespace brood::server {
namespace {

constexpr absl::string_view kStyle = "exec_style";
constexpr absl::string_view kVariable = "env";

bool IsGiven(absl::string_view name, const GivenFlags& given) {
  return absl::c_any_of(
      given.flags, [name](const GivenFlag& flag) { return flag.name == name; });
}

// Returns `error`, of ExecHandler::Create(), with the names of flags in place
// of the names of fields.
absl::Status NameProgram(const absl::Status& error) {
  absl::string_view message = error.message();
  if (absl::ConsumePrefix(&message, "environment=")) {
    return absl::Status(error.code(),
                        absl::StrCat("--", kVariable, "=", message));
  }
  if (absl::ConsumePrefix(&message, "program=")) {
    return absl::Status(error.code(), absl::StrCat("-- ", message));
  }
  return NameFlags(error);
}

absl::StatusOr<ExecOptions> ExecOptionsFromFlags(const GivenFlags& given) {
  ExecOptions exec;
  exec.command = given.program;
  for (const GivenFlag& flag : given.flags) {
    if (flag.name == kVariable) exec.environment.push_back(flag.value);
    if (flag.name != kStyle) continue;
    absl::StatusOr<ExecStyle> style = ParseExecStyle(flag.value);
    if (!style.ok()) {
      return absl::InvalidArgumentError(
          absl::StrCat(flag.where, flag.where.empty() ? "" : ": ", "--",
                       style.status().message()));
    }
    exec.style = *style;
  }
  return exec;
}

}  // namespace

absl::StatusOr<Handler> HandlerFromFlags(const GivenFlags& given,
                                         Options* options) {
  const absl::StatusOr<ExecOptions> exec = ExecOptionsFromFlags(given);
  if (!exec.ok()) return exec.status();
  if (given.program.empty()) {
    for (const absl::string_view name : {kStyle, kVariable}) {
      if (!IsGiven(name, given)) continue;
      return absl::InvalidArgumentError(absl::StrCat(
          "--", name, ": needs a program; write it behind --, at the end"));
    }
    return EchoHandler(static_cast<size_t>(options->max_size));
  }
  absl::StatusOr<ExecHandler> handler = ExecHandler::Create(*exec);
  if (!handler.ok()) return NameProgram(handler.status());
  if (!IsGiven("children", given)) options->children = handler->group();
  const absl::Status possible = handler->CheckServer(*options);
  if (!possible.ok()) return NameProgram(possible);
  return Handler(*std::move(handler));
}

}  // namespace brood::server
