// SPDX-License-Identifier: Apache-2.0

#include "brood/server/options.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::server {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::IsOkAndHolds;
using ::brood::testing::StatusIs;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

template <typename Value>
absl::Status Validated(Value Options::*field, Value value) {
  Options options;
  options.*field = std::move(value);
  return options.Validate();
}

absl::Status ValidatedListen(std::vector<std::string> listen) {
  return Validated(&Options::listen, std::move(listen));
}

TEST(OptionsTest, AreValidByDefault) {
  EXPECT_THAT(Options().Validate(), IsOk());
}

TEST(OptionsTest, AcceptALingerUpToAnHour) {
  for (const absl::Duration good : {absl::ZeroDuration(), absl::Hours(1)}) {
    EXPECT_THAT(Validated(&Options::linger, good), IsOk());
  }
  for (const absl::Duration bad :
       {absl::Nanoseconds(-1), absl::Hours(1) + absl::Nanoseconds(1)}) {
    EXPECT_THAT(
        Validated(&Options::linger, bad),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 AllOf(StartsWith("linger="), HasSubstr("must be 0 to 1h"))));
  }
}

TEST(OptionsTest, AcceptAPrintableNameForTheLog) {
  Options options;
  for (const std::string& good :
       {std::string("x"), std::string("my server 2"), std::string(64, '~')}) {
    options.log.name = good;
    EXPECT_THAT(options.Validate(), IsOk());
  }
  for (const std::string& bad :
       {std::string(), std::string(65, 'x'), std::string("a\nb"),
        std::string("\xc3\xa9"), std::string(1, '\0')}) {
    options.log.name = bad;
    EXPECT_THAT(options.Validate(),
                StatusIs(absl::StatusCode::kInvalidArgument,
                         AllOf(StartsWith("log.name="),
                               HasSubstr("must be 1 to 64 printable"))));
  }
}

TEST(OptionsTest, AcceptEachNumberWithinItsLimits) {
  for (int max_size : {1, 16777216}) {
    EXPECT_THAT(Validated(&Options::max_size, max_size), IsOk());
  }
  for (int max_connections : {1, 1000000}) {
    EXPECT_THAT(Validated(&Options::max_connections, max_connections), IsOk());
  }
  for (int backlog : {0, 1048576}) {
    EXPECT_THAT(Validated(&Options::backlog, backlog), IsOk());
  }
  for (absl::Duration grace : {absl::ZeroDuration(), absl::Hours(24)}) {
    EXPECT_THAT(Validated(&Options::drain_grace, grace), IsOk());
  }
}

TEST(OptionsTest, NameABadNumberWithItsValueAndWhatIsAllowed) {
  const struct {
    int Options::*field;
    int value;
    const char* complaint;
  } kBad[] = {
      {&Options::max_size, 0, "max_size=0: must be 1 to 16777216"},
      {&Options::max_size, -1, "max_size=-1: must be 1 to 16777216"},
      {&Options::max_size, 16777217,
       "max_size=16777217: must be 1 to 16777216"},
      {&Options::max_connections, 0, "max_connections=0: must be 1 to 1000000"},
      {&Options::max_connections, 1000001,
       "max_connections=1000001: must be 1 to 1000000"},
      {&Options::backlog, -1, "backlog=-1: must be 0 to 1048576"},
      {&Options::backlog, 1048577, "backlog=1048577: must be 0 to 1048576"},
  };
  for (const auto& bad : kBad) {
    EXPECT_THAT(Validated(bad.field, bad.value),
                StatusIs(absl::StatusCode::kInvalidArgument, bad.complaint));
  }
}

TEST(OptionsTest, NameABadGraceWithItsValueAndWhatIsAllowed) {
  const std::pair<absl::Duration, const char*> kBad[] = {
      {-absl::Nanoseconds(1), "drain_grace=-1ns: must be 0 to 24h"},
      {absl::Hours(24) + absl::Seconds(1),
       "drain_grace=24h1s: must be 0 to 24h"},
      {absl::InfiniteDuration(), "drain_grace=inf: must be 0 to 24h"},
      {-absl::InfiniteDuration(), "drain_grace=-inf: must be 0 to 24h"},
  };
  for (const auto& [grace, complaint] : kBad) {
    EXPECT_THAT(Validated(&Options::drain_grace, grace),
                StatusIs(absl::StatusCode::kInvalidArgument, complaint));
  }
}

TEST(OptionsTest, NameABadFieldOfAGroupAsItIsSpelled) {
  const struct {
    void (*change)(Options&);
    const char* complaint;
  } kBad[] = {
      {[](Options& o) { o.spares.min = 0; },
       "spares.min=0: must be 1 to 100000"},
      {[](Options& o) { o.spares.max = 3; },
       "spares.max=3: must be 4 to 100000"},
      {[](Options& o) { o.pool.workers = 100001; },
       "pool.workers=100001: must be 1 to 100000"},
      {[](Options& o) { o.hardening.oom_score_adj = 1001; },
       "hardening.oom_score_adj=1001: must be 0 to 1000"},
      {[](Options& o) { o.pool.max_connections = 0; },
       "pool.max_connections=0: must be 1 to 1000000"},
      {[](Options& o) { o.deadlines.first_byte = -absl::Seconds(1); },
       "deadlines.first_byte=-1s: must be 0, or 1ms to 8760h"},
      {[](Options& o) { o.deadlines.idle = absl::InfiniteDuration(); },
       "deadlines.idle=inf: must be 0, or 1ms to 8760h"},
      {[](Options& o) { o.deadlines.connection = -absl::Seconds(1); },
       "deadlines.connection=-1s: must be 0, or 1ms to 8760h"},
      {[](Options& o) { o.deadlines.peer = absl::Hours(10); },
       "deadlines.peer=10h: must be 0, or 1s to 9h"},
      {[](Options& o) { o.upgrade.timeout = -absl::Seconds(1); },
       "upgrade.timeout=-1s: must be 0, or 1ms to 8760h"},
      {[](Options& o) { o.upgrade.command = {"server"}; },
       "upgrade.command=server: must begin with the absolute path of a "
       "program"},
  };
  for (const auto& bad : kBad) {
    Options options;
    bad.change(options);
    EXPECT_THAT(options.Validate(),
                StatusIs(absl::StatusCode::kInvalidArgument, bad.complaint));
  }
}

TEST(OptionsTest, RefuseATimeoutThatIsTooShortToBeEnforced) {
  const struct {
    absl::Duration* (*field)(Options&);
    const char* name;
    absl::Duration shortest;
    const char* allowed;
  } kTimeouts[] = {
      {[](Options& o) { return &o.deadlines.first_byte; },
       "deadlines.first_byte", absl::Milliseconds(1), "1ms to 8760h"},
      {[](Options& o) { return &o.deadlines.idle; }, "deadlines.idle",
       absl::Milliseconds(1), "1ms to 8760h"},
      {[](Options& o) { return &o.deadlines.connection; },
       "deadlines.connection", absl::Milliseconds(1), "1ms to 8760h"},
      {[](Options& o) { return &o.deadlines.peer; }, "deadlines.peer",
       absl::Seconds(1), "1s to 9h"},
      {[](Options& o) { return &o.upgrade.timeout; }, "upgrade.timeout",
       absl::Milliseconds(1), "1ms to 8760h"},
  };
  for (const auto& timeout : kTimeouts) {
    Options options;
    absl::Duration& length = *timeout.field(options);
    length = timeout.shortest;
    EXPECT_THAT(options.Validate(), IsOk()) << timeout.name;
    length = absl::ZeroDuration();
    EXPECT_THAT(options.Validate(), IsOk()) << timeout.name;
    for (const absl::Duration too_short :
         {absl::Nanoseconds(5), timeout.shortest - absl::Nanoseconds(1)}) {
      length = too_short;
      EXPECT_THAT(options.Validate(),
                  StatusIs(absl::StatusCode::kInvalidArgument,
                           absl::StrCat(timeout.name, "=",
                                        absl::FormatDuration(too_short),
                                        ": must be 0, or ", timeout.allowed)));
    }
  }
}

TEST(OptionsTest, RefuseAValueThatIsNoEnumerator) {
  EXPECT_THAT(Validated(&Options::strategy, StrategyKind{99}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("strategy=99: ")));
  EXPECT_THAT(Validated(&Options::on_parent_death, OnParentDeath{-1}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("on_parent_death=-1: ")));
  EXPECT_THAT(Validated(&Options::unix_deadlines, UnixDeadlines{2}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("unix_deadlines=2: ")));
  EXPECT_THAT(Validated(&Options::log, Options::Log{LogLevel{4}}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("log.level=4: ")));
}

TEST(OptionsTest, NameADeadlineThatAUnixSocketCanNotHave) {
  Options options;
  options.listen = {"unix:/run/x"};
  options.deadlines.connection = absl::Seconds(5);
  EXPECT_THAT(options.Validate(), IsOk());
  options.deadlines.first_byte = absl::Seconds(5);
  EXPECT_THAT(options.Validate(),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       AllOf(StartsWith("deadlines.first_byte=5s: must be 0 "
                                        "with unix:/run/x"),
                             HasSubstr("deadlines.connection"))));
  options.unix_deadlines = UnixDeadlines::kConnectionOnly;
  options.deadlines.idle = absl::Seconds(5);
  EXPECT_THAT(options.Validate(), IsOk());
}

TEST(OptionsTest, CountTheWorkersOfAPoolOnly) {
  Options options;
  options.max_connections = 100;
  options.pool.workers = 7;
  for (const StrategyKind kind : AllStrategyKinds()) {
    options.strategy = kind;
    EXPECT_EQ(options.Capacity(), kind == StrategyKind::kPool ? 7u : 100u);
  }
}

TEST(OptionsTest, AcceptSeveralEndpointsOfEveryKind) {
  EXPECT_THAT(ValidatedListen({"127.0.0.1:7000", "[::1]:7000", ":0",
                               "localhost:65535", "127.0.0.1:7000"}),
              IsOk());
}

TEST(OptionsTest, RequireAnEntryOfListen) {
  EXPECT_THAT(ValidatedListen({}), StatusIs(absl::StatusCode::kInvalidArgument,
                                            "listen=: must name an endpoint"));
}

TEST(OptionsTest, NameTheBadEndpointAmongGoodOnes) {
  EXPECT_THAT(ValidatedListen({"127.0.0.1:7000", "127.1:80", "[::1]:7000"}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("listen=127.1:80: ")));
  EXPECT_THAT(
      ValidatedListen({"127.0.0.1:7000", ""}),
      StatusIs(absl::StatusCode::kInvalidArgument, StartsWith("listen=: ")));
}

// The error is printed where each line is a message.
TEST(OptionsTest, EscapeControlCharacters) {
  EXPECT_THAT(ParseOnParentDeath("a\nb"),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("on_parent_death=a\\nb: ")));
  EXPECT_THAT(ValidatedListen({"a\nb"}),
              StatusIs(absl::StatusCode::kInvalidArgument,
                       StartsWith("listen=a\\nb: \"a\\nb\" is not")));
}

TEST(OptionsTest, NameTheFirstOfSeveralBadFields) {
  Options options;
  options.listen = {"nowhere"};
  options.strategy = StrategyKind{99};
  options.max_size = 0;
  options.max_connections = 0;
  options.backlog = -1;
  options.drain_grace = -absl::Seconds(1);
  const auto complains_of = [](const char* field) {
    return StatusIs(absl::StatusCode::kInvalidArgument, StartsWith(field));
  };
  EXPECT_THAT(options.Validate(), complains_of("listen=nowhere: "));
  options.listen = Options().listen;
  EXPECT_THAT(options.Validate(), complains_of("strategy=99: "));
  options.strategy = Options().strategy;
  EXPECT_THAT(options.Validate(), complains_of("max_size=0: "));
  options.max_size = Options().max_size;
  EXPECT_THAT(options.Validate(), complains_of("max_connections=0: "));
  options.max_connections = Options().max_connections;
  EXPECT_THAT(options.Validate(), complains_of("backlog=-1: "));
  options.backlog = Options().backlog;
  EXPECT_THAT(options.Validate(), complains_of("drain_grace=-1s: "));
}

TEST(OnParentDeathTest, IsReadByItsExactName) {
  EXPECT_EQ(NameOf(OnParentDeath::kFinish), "finish");
  EXPECT_EQ(NameOf(OnParentDeath::kDie), "die");
  EXPECT_THAT(ParseOnParentDeath("finish"),
              IsOkAndHolds(OnParentDeath::kFinish));
  EXPECT_THAT(ParseOnParentDeath("die"), IsOkAndHolds(OnParentDeath::kDie));
  for (const std::string text : {"", "Die", "kill", "die "}) {
    EXPECT_THAT(
        ParseOnParentDeath(text),
        StatusIs(absl::StatusCode::kInvalidArgument,
                 "on_parent_death=" + text + ": must be finish or die"));
  }
}

}  // namespace
}  // namespace brood::server
