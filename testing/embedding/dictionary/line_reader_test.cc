// SPDX-License-Identifier: Apache-2.0

#include "dictionary/line_reader.h"

#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/optional.h"
#include "brood/net/instant.h"
#include "brood/net/io.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace embedder {
namespace {

using brood::net::After;
using brood::net::Now;
using brood::net::WriteFull;
using brood::testing::ConnectionPair;
using brood::testing::IsOk;
using brood::testing::IsOkAndHolds;
using brood::testing::StatusIs;
using ::testing::Eq;
using ::testing::Optional;

// Reads the lines that `client` sends.
class LineReaderTest : public brood::testing::LeakCheck {
 protected:
  auto Next() { return reader_.Next(After(Now(), absl::Seconds(10))); }

  ConnectionPair pair_ = ConnectionPair::Create().value();
  brood::net::Socket& client_ = pair_.client;
  LineReader reader_ = LineReader(pair_.connection.socket());
};

TEST_F(LineReaderTest, ReturnsEachLineOfOnePacket) {
  ASSERT_THAT(WriteFull(client_, "one\r\ntwo\n\n"), IsOk());
  client_.Close();
  EXPECT_THAT(Next(), IsOkAndHolds(Optional<std::string>("one")));
  EXPECT_THAT(Next(), IsOkAndHolds(Optional<std::string>("two")));
  EXPECT_THAT(Next(), IsOkAndHolds(Optional<std::string>("")));
  EXPECT_THAT(Next(), IsOkAndHolds(Eq(absl::nullopt)));
}

TEST_F(LineReaderTest, WaitsForTheRestOfALineUntilTheDeadline) {
  ASSERT_THAT(WriteFull(client_, "half a li"), IsOk());
  EXPECT_THAT(reader_.Next(After(Now(), absl::Milliseconds(20))),
              StatusIs(absl::StatusCode::kDeadlineExceeded));
  ASSERT_THAT(WriteFull(client_, "ne\n"), IsOk());
  EXPECT_THAT(Next(), IsOkAndHolds(Optional<std::string>("half a line")));
}

TEST_F(LineReaderTest, RefusesTooLongLine) {
  const std::string longest(LineReader::kLongest, 'x');
  ASSERT_THAT(WriteFull(client_, longest + "\n" + longest + "x"), IsOk());
  EXPECT_THAT(Next(), IsOkAndHolds(Optional(longest)));
  EXPECT_THAT(Next(), StatusIs(absl::StatusCode::kResourceExhausted));
}

}  // namespace
}  // namespace embedder
