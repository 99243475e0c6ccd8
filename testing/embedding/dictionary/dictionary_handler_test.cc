// SPDX-License-Identifier: Apache-2.0

// The handler alone: no server, no fork.

#include "dictionary/dictionary_handler.h"

#include <memory>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "brood/net/io.h"
#include "brood/server/handler.h"
#include "brood/testing/connection_pair.h"
#include "brood/testing/handler_run.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/test_client.h"
#include "dictionary/line_reader.h"
#include "dictionary/table.h"
#include "gtest/gtest.h"

namespace embedder {
namespace {

using brood::server::ExitCode;
using brood::testing::ConnectionPair;
using brood::testing::HandlerRun;
using brood::testing::IsOk;
using brood::testing::IsOkAndHolds;

class DictionaryHandlerTest : public brood::testing::LeakCheck {
 protected:
  static DictionaryHandler Handler(absl::Duration timeout = absl::Minutes(1)) {
    return DictionaryHandler(
        std::make_shared<const Table>(
            Table::Parse("fork\ta process\nreap\tto wait\n").value()),
        timeout);
  }
};

TEST_F(DictionaryHandlerTest, DefinesTheWordsOfItsTable) {
  HandlerRun run(Handler());
  ASSERT_THAT(run.client().Send("DEFINE fork\r\n"), IsOk());
  EXPECT_THAT(run.client().ExpectReply("= a process\n"), IsOk());
  ASSERT_THAT(run.client().Send("DEFINE spoon\n"), IsOk());
  EXPECT_THAT(run.client().ExpectReply("? spoon\n"), IsOk());
  ASSERT_THAT(run.client().ShutdownWrite(), IsOk());
  EXPECT_THAT(run.client().ExpectEof(), IsOk());
  EXPECT_EQ(run.code(), ExitCode::kServed);
}

TEST_F(DictionaryHandlerTest, AnswersManyRequestsOfOnePacketInOrder) {
  HandlerRun run(Handler());
  ASSERT_THAT(run.client().Send("LIST\nDEFINE reap\nWHAT\nQUIT\n"), IsOk());
  EXPECT_THAT(run.client().ReadUntilEof(),
              IsOkAndHolds("fork\nreap\n.\n= to wait\n"
                           "! DEFINE word, LIST or QUIT\nbye 1\n"));
  EXPECT_EQ(run.code(), ExitCode::kServed);
}

TEST_F(DictionaryHandlerTest, EndsAtTheTimeoutIfTheClientSendsNothing) {
  HandlerRun run(Handler(absl::Milliseconds(20)));
  EXPECT_THAT(run.client().ExpectEof(), IsOk());
  EXPECT_EQ(run.code(), ExitCode::kDeadlineExceeded);
}

TEST_F(DictionaryHandlerTest, EndsWhenTheClientIsLost) {
  HandlerRun run(Handler());
  run.client().Reset();
  EXPECT_EQ(run.code(), ExitCode::kPeerLost);
}

TEST_F(DictionaryHandlerTest, EndsAfterAProtocolError) {
  HandlerRun run(Handler());
  ASSERT_THAT(run.client().Send(std::string(LineReader::kLongest + 1, 'x')),
              IsOk());
  EXPECT_EQ(run.code(), ExitCode::kProtocolError);
}

// The test has both ends of the connection, so that it can call the handler
// without a thread.
TEST_F(DictionaryHandlerTest, CountsTheMeaningsThatItSent) {
  DictionaryHandler handler = Handler();
  for (const char* farewell : {"bye 1\n", "bye 2\n"}) {
    ConnectionPair pair = ConnectionPair::Create().value();
    ASSERT_THAT(brood::net::WriteFull(pair.client, "DEFINE fork\nQUIT\n"),
                IsOk());
    EXPECT_EQ(handler(pair.connection), ExitCode::kServed);
    auto client = brood::testing::TestClient::Adopt(std::move(pair.client));
    EXPECT_THAT(client.ExpectReply(std::string("= a process\n") + farewell),
                IsOk());
  }
}

}  // namespace
}  // namespace embedder
