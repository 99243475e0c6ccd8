// SPDX-License-Identifier: Apache-2.0

// flags_test MAIN_CC: the table of flags against Options, and against the flags
// that the program defines in MAIN_CC.

#include "brood/server/command_line/flags.h"

#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "brood/server/command_line/flag_reader.h"
#include "brood/server/options.h"
#include "brood/testing/status_matchers.h"
#include "gflags/gflags.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::string* main_cc = nullptr;

// Returns the flags that the program defines, with their defaults as text.
std::map<std::string, std::string> DefinedFlags() {
  static const std::regex definition(
      R"re(DEFINE_\w+\(\s*(\w+),\s*"?([^",]*)"?,)re");
  std::map<std::string, std::string> defaults;
  for (std::sregex_iterator found(main_cc->begin(), main_cc->end(), definition),
       end;
       found != end; ++found) {
    defaults[(*found)[1]] = (*found)[2];
  }
  return defaults;
}

// Returns every field of `options`, as an embedder spells it, with its value as
// text. Does not compile if Options has another field.
std::map<std::string, std::string> FieldsOf(const Options& options) {
  const auto& [listen, unix_mode, backlog, strategy, max_connections, max_size,
               linger, owns_all_children, init, children, prepare_child,
               hardening, spares, pool, deadlines, unix_deadlines, drain_grace,
               on_parent_death, take_signals, upgrade, log, child_stderr,
               notify_socket, handler_reports, on_connection_end] = options;
  const auto& [stack_canary, dumpable, oom_score_adj, oom_score_with_fork] =
      hardening;
  const auto& [spares_min, spares_max] = spares;
  const auto& [pool_workers, pool_max_connections] = pool;
  const auto& [first_byte, idle, connection, peer] = deadlines;
  const auto& [upgrade_command, upgrade_timeout] = upgrade;
  const auto& [log_level, log_format, log_time, log_name, log_rate, log_sink] =
      log;
  const auto text = [](const auto& value) { return absl::StrCat(value); };
  const auto set = [](const auto& function) {
    return absl::StrCat(function != nullptr);
  };
  return {
      {"listen", absl::StrJoin(listen, ",")},
      {"unix_mode", text(unix_mode)},
      {"backlog", text(backlog)},
      {"strategy", text(NameOf(strategy))},
      {"max_connections", text(max_connections)},
      {"max_size", text(max_size)},
      {"linger", absl::FormatDuration(linger)},
      {"owns_all_children", text(owns_all_children)},
      {"init", text(init)},
      {"children", text(NameOf(children))},
      {"prepare_child", set(prepare_child)},
      {"hardening.stack_canary", text(stack_canary)},
      {"hardening.dumpable", text(dumpable)},
      {"hardening.oom_score_adj", text(oom_score_adj)},
      {"hardening.oom_score_with_fork", text(oom_score_with_fork)},
      {"spares.min", text(spares_min)},
      {"spares.max", text(spares_max)},
      {"pool.workers", text(pool_workers)},
      {"pool.max_connections", text(pool_max_connections)},
      {"deadlines.first_byte", absl::FormatDuration(first_byte)},
      {"deadlines.idle", absl::FormatDuration(idle)},
      {"deadlines.connection", absl::FormatDuration(connection)},
      {"deadlines.peer", absl::FormatDuration(peer)},
      {"unix_deadlines", text(NameOf(unix_deadlines))},
      {"drain_grace", absl::FormatDuration(drain_grace)},
      {"on_parent_death", text(NameOf(on_parent_death))},
      {"take_signals", text(take_signals)},
      {"upgrade.command", absl::StrJoin(upgrade_command, " ")},
      {"upgrade.timeout", absl::FormatDuration(upgrade_timeout)},
      {"log.level", text(NameOf(log_level))},
      {"log.format", text(NameOf(log_format))},
      {"log.time", text(log_time)},
      {"log.name", log_name},
      {"log.rate", text(log_rate)},
      {"log.sink", set(log_sink)},
      {"child_stderr", text(NameOf(child_stderr))},
      {"notify_socket", notify_socket},
      {"handler_reports", text(handler_reports)},
      {"on_connection_end", set(on_connection_end)},
  };
}

// Returns for each flag a text that is not its default.
const std::map<std::string, std::string>& OtherTexts() {
  static const auto* const texts = new std::map<std::string, std::string>{
      {"listen", "[::1]:7001,unix:/run/x"},
      {"backlog", "7"},
      {"unix_mode", "0660"},
      {"strategy", "spares"},
      {"max_connections", "7"},
      {"max_size", "7"},
      {"linger", "7s"},
      {"min_spares", "7"},
      {"max_spares", "7"},
      {"workers", "7"},
      {"max_connections_per_worker", "7"},
      {"init", "true"},
      {"stack_canary", "false"},
      {"dumpable", "true"},
      {"oom_score_adj", "7"},
      {"oom_score_with_fork", "true"},
      {"children", "inherit"},
      {"first_byte_timeout", "7s"},
      {"idle_timeout", "7s"},
      {"connection_timeout", "7s"},
      {"peer_timeout", "7s"},
      {"unix_deadlines", "connection_only"},
      {"drain_grace", "7s"},
      {"upgrade_timeout", "7s"},
      {"on_parent_death", "die"},
      {"log_level", "off"},
      {"log_format", "json"},
      {"log_time", "false"},
      {"log_name", "echo"},
      {"log_rate", "7"},
      {"child_stderr", "null"},
  };
  return *texts;
}

TEST(FlagsTest, ListsTheFlagsThatTheProgramDefines) {
  std::set<std::string> defined, listed;
  for (const auto& [name, text] : DefinedFlags()) defined.insert(name);
  for (const Flag& flag : AllFlags()) listed.insert(flag.name);
  EXPECT_EQ(listed, defined);
  EXPECT_THAT(listed, SizeIs(AllFlags().size())) << "one is listed twice";
  EXPECT_THAT(listed, Not(IsEmpty()));
}

TEST(FlagsTest, HasAFieldForEachFlagButThoseOfTheProgram) {
  std::set<std::string> of_program;
  for (const Flag& flag : AllFlags()) {
    EXPECT_EQ(flag.set == nullptr, *flag.field == '\0') << flag.name;
    if (flag.set == nullptr) of_program.insert(flag.name);
  }
  EXPECT_THAT(of_program, ElementsAre("env", "exec_style", "huge_text"));
}

TEST(FlagsTest, HasAFlagForEachFieldButThoseOfTheEmbedder) {
  std::map<std::string, std::string> fields = FieldsOf(Options());
  for (const Flag& flag : AllFlags()) {
    if (flag.set == nullptr) continue;
    EXPECT_EQ(fields.erase(flag.field), 1u) << flag.field;
  }
  std::set<std::string> without_flag;
  for (const auto& [field, text] : fields) without_flag.insert(field);
  EXPECT_THAT(without_flag,
              ElementsAre("handler_reports", "log.sink", "notify_socket",
                          "on_connection_end", "owns_all_children",
                          "prepare_child", "take_signals", "upgrade.command"));
}

TEST(FlagsTest, SetsTheFieldOfAFlagAndNoOther) {
  for (const Flag& flag : AllFlags()) {
    if (flag.set == nullptr) continue;
    SCOPED_TRACE(flag.name);
    ASSERT_EQ(OtherTexts().count(flag.name), 1u);
    Options options;
    EXPECT_THAT(flag.set(flag, OtherTexts().at(flag.name), &options), IsOk());
    for (const auto& [field, before] : FieldsOf(Options())) {
      const std::string after = FieldsOf(options).at(field);
      if (field == flag.field) {
        EXPECT_NE(after, before);
      } else {
        EXPECT_EQ(after, before) << field;
      }
    }
  }
}

TEST(FlagsTest, HasTheDefaultsOfTheFields) {
  const std::map<std::string, std::string> defaults = DefinedFlags();
  for (const Flag& flag : AllFlags()) {
    if (flag.set == nullptr) continue;
    SCOPED_TRACE(flag.name);
    Options options;
    ASSERT_THAT(flag.set(flag, OtherTexts().at(flag.name), &options), IsOk());
    ASSERT_EQ(defaults.count(flag.name), 1u);
    EXPECT_THAT(flag.set(flag, defaults.at(flag.name), &options), IsOk());
    EXPECT_EQ(FieldsOf(options), FieldsOf(Options()));
  }
}

TEST(FlagsTest, NamesTheFlagOfAMalformedText) {
  for (const Flag& flag : AllFlags()) {
    const std::string name = flag.name;
    if (flag.set == nullptr || name == "listen") continue;
    Options options;
    EXPECT_THAT(flag.set(flag, "a\nb", &options),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         StartsWith(name + "=a\\nb: must be ")));
    EXPECT_EQ(FieldsOf(options), FieldsOf(Options())) << name;
  }
}

TEST(FlagsTest, NamesTheFlagOfAFieldThatIsOutOfItsRange) {
  int checked = 0;
  for (const Flag& flag : AllFlags()) {
    Options options;
    bool has_range = false;
    for (const char* text : {"-1", "-1s"}) {
      has_range |= flag.set != nullptr && flag.set(flag, text, &options).ok();
    }
    const std::string name = flag.name;
    if (!has_range || name == "listen" || name == "log_name") continue;
    const absl::Status valid = options.Validate();
    EXPECT_THAT(valid, StatusIs(absl::StatusCode::kInvalidArgument,
                                StartsWith(absl::StrCat(flag.field, "=-1"))));
    EXPECT_THAT(NameFlags(valid),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         StartsWith(absl::StrCat("--", flag.name, "=-1"))));
    ++checked;
  }
  EXPECT_EQ(checked, 16);
}

TEST(FlagsTest, NamesEachFlagInAnError) {
  Options options;
  options.listen = {"unix:/run/x"};
  options.deadlines.idle = absl::Seconds(5);
  EXPECT_THAT(
      NameFlags(options.Validate()),
      StatusIs(absl::StatusCode::kInvalidArgument,
               "--idle_timeout=5s: must be 0 with unix:/run/x, since "
               "the kernel does not report when bytes moved on a unix "
               "socket; there is --connection_timeout, which "
               "unix_deadlines=connection_only leaves to unix sockets"));
}

// A flag of gflags that is neither known nor refused would be ignored.
TEST(FlagsTest, KnowsOrRefusesEachFlagOfGflags) {
  std::set<std::string> known = {"flagfile"};
  for (const KnownFlag& flag : KnownFlags()) {
    EXPECT_TRUE(known.insert(flag.name).second) << flag.name;
    EXPECT_EQ(flag.remedy.empty(), flag.kind != FlagKind::kRefused);
  }
  std::vector<gflags::CommandLineFlagInfo> of_gflags;
  gflags::GetAllFlags(&of_gflags);
  for (const gflags::CommandLineFlagInfo& flag : of_gflags) {
    EXPECT_EQ(known.count(flag.name), 1u) << flag.name;
  }
  EXPECT_THAT(of_gflags, SizeIs(::testing::Ge(10u)));
}

TEST(FlagsTest, ChoosesTheTaskThatIsAskedFor) {
  EXPECT_EQ(TaskOf({}), Task::kServe);
  const auto task = [](const char* name) {
    return TaskOf({{{"listen", ":1", ""}, {name, "", ""}}, {}, {}});
  };
  EXPECT_EQ(task("linger"), Task::kServe);
  EXPECT_EQ(task("check_config"), Task::kCheckConfig);
  EXPECT_EQ(task("help"), Task::kPrintHelp);
  EXPECT_EQ(task("version"), Task::kPrintVersion);
}

TEST(FlagsTest, LeavesOtherErrorsAsTheyAre) {
  for (const std::string message :
       {"bind 127.0.0.1:80: Permission denied", "listener: not open",
        "upgrade.command=server: must begin with the absolute path of a "
        "program",
        "", "listen"}) {
    EXPECT_THAT(NameFlags(absl::PermissionDeniedError(message)),
                StatusIs(absl::StatusCode::kPermissionDenied, message));
  }
}

}  // namespace
}  // namespace brood::server

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  std::ifstream file(argc == 2 ? argv[1] : "");
  if (!file) {
    std::cerr << "usage: flags_test MAIN_CC" << std::endl;
    return 1;
  }
  std::string contents{std::istreambuf_iterator<char>(file), {}};
  brood::server::main_cc = &contents;
  return RUN_ALL_TESTS();
}
