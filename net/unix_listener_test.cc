// SPDX-License-Identifier: Apache-2.0

// Listeners on unix sockets, and their files.

#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "brood/net/instant.h"
#include "brood/net/listener.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/short_dir.h"
#include "brood/testing/test_client.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ShortDir;
using ::brood::testing::StatusIs;
using ::brood::testing::TestClient;
using ::testing::HasSubstr;

class UnixListenerTest : public ::brood::testing::LeakCheck {
 protected:
  UnixListenerTest() : endpoint_(dir_.Socket("s")) {}

  absl::StatusOr<Listener> Listen(mode_t mode = 0600) {
    return Listener::Listen(endpoint_, kFullBacklog, mode);
  }
  struct stat File() {
    struct stat file = {};
    EXPECT_EQ(lstat(dir_.File("s").c_str(), &file), 0);
    return file;
  }

  const ShortDir dir_;
  const Endpoint endpoint_;
};

TEST_F(UnixListenerTest, AcceptsClientsThatHaveNoName) {
  absl::StatusOr<Listener> listener = Listen();
  ASSERT_THAT(listener, IsOk());
  EXPECT_EQ(listener->endpoint(), endpoint_);
  EXPECT_EQ(fcntl(listener->fd(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(listener->Accept().verdict, AcceptVerdict::kNoneWaiting);
  TestClient client = *TestClient::Connect(endpoint_);
  const Accepted accepted = listener->Accept();
  ASSERT_EQ(accepted.verdict, AcceptVerdict::kAccepted);
  EXPECT_EQ(accepted.connection->peer().ToString(), "unix:");
  EXPECT_EQ(accepted.connection->local(), endpoint_);
  ASSERT_EQ(send(accepted.connection->fd(), "hi", 2, 0), 2);
  EXPECT_THAT(client.ExpectReply("hi"), IsOk());
}

// Clients choose their own names, and there may be any number of them.
TEST_F(UnixListenerTest, DropsTheNamesOfClients) {
  absl::StatusOr<Listener> listener = Listen();
  ASSERT_THAT(listener, IsOk());
  const Socket client = Socket::Adopt(socket(AF_UNIX, SOCK_STREAM, 0));
  const Endpoint name = dir_.Socket("client");
  ASSERT_EQ(bind(client.fd(), name.address(), name.address_length()), 0);
  ASSERT_EQ(
      connect(client.fd(), endpoint_.address(), endpoint_.address_length()), 0);
  EXPECT_EQ(listener->Accept().connection->peer().ToString(), "unix:");
}

TEST_F(UnixListenerTest, HasTheRequestedModeWhateverTheUmask) {
  const mode_t before = umask(0);
  const absl::Cleanup restore = [before] { umask(before); };
  for (const mode_t mask : {0, 022, 077, 0777}) {
    for (const mode_t mode : {0600, 0660, 0666, 0777, 0000}) {
      umask(mask);
      const absl::StatusOr<Listener> listener = Listen(mode);
      ASSERT_THAT(listener, IsOk());
      EXPECT_EQ(File().st_mode & 07777, mode) << "with umask " << mask;
      unlink(dir_.File("s").c_str());
    }
  }
}

TEST_F(UnixListenerTest, ReplacesFileThatNoProcessAnswers) {
  for (int restart = 0; restart < 20; ++restart) {
    const absl::StatusOr<Listener> listener = Listen();
    ASSERT_THAT(listener, IsOk());
    EXPECT_THAT(TestClient::Connect(endpoint_), IsOk());
  }
  EXPECT_TRUE(S_ISSOCK(File().st_mode)) << "the file was removed";
}

TEST_F(UnixListenerTest, KeepsFileOfAListeningProcess) {
  absl::StatusOr<Listener> first = Listen();
  ASSERT_THAT(first, IsOk());
  const ino_t file = File().st_ino;
  EXPECT_THAT(Listen(), StatusIs(absl::ErrnoToStatusCode(EADDRINUSE),
                                 absl::StrCat("bind ", endpoint_.ToString(),
                                              ": Address already in use")));
  EXPECT_EQ(File().st_ino, file);
  EXPECT_THAT(TestClient::Connect(endpoint_), IsOk());
}

// A full queue shows that a process listens.
TEST_F(UnixListenerTest, KeepsFileOfAListenerWithAFullQueue) {
  const absl::StatusOr<Listener> first = Listener::Listen(endpoint_, 1);
  ASSERT_THAT(first, IsOk());
  std::vector<TestClient> clients;
  for (;;) {
    auto client = TestClient::Connect(endpoint_, absl::Milliseconds(10));
    if (!client.ok()) break;
    clients.push_back(*std::move(client));
  }
  EXPECT_THAT(Listen(),
              StatusIs(absl::ErrnoToStatusCode(EADDRINUSE),
                       absl::StrCat("bind ", endpoint_.ToString(),
                                    ": Address already in use (connect: "
                                    "Resource temporarily unavailable)")));
}

TEST_F(UnixListenerTest, KeepsFileOfASocketOfAnotherType) {
  const Socket datagrams = Socket::Adopt(socket(AF_UNIX, SOCK_DGRAM, 0));
  ASSERT_EQ(
      bind(datagrams.fd(), endpoint_.address(), endpoint_.address_length()), 0);
  EXPECT_THAT(Listen(), StatusIs(absl::ErrnoToStatusCode(EADDRINUSE)));
}

TEST_F(UnixListenerTest, KeepsFileThatIsNotASocket) {
  const std::string path = dir_.File("s");
  std::ofstream(path) << "dear";
  EXPECT_THAT(Listen(), StatusIs(absl::StatusCode::kAlreadyExists,
                                 HasSubstr("the file is not a socket")));
  std::string kept;
  std::ifstream(path) >> kept;
  EXPECT_EQ(kept, "dear");

  ASSERT_EQ(rename(path.c_str(), dir_.File("file").c_str()), 0);
  ASSERT_EQ(symlink(dir_.File("nowhere").c_str(), path.c_str()), 0);
  EXPECT_THAT(Listen(), StatusIs(absl::StatusCode::kAlreadyExists));
  EXPECT_TRUE(S_ISLNK(File().st_mode));
}

TEST_F(UnixListenerTest, NamesMissingDirectory) {
  const Endpoint nowhere =
      *Endpoint::Parse(absl::StrCat("unix:", dir_.File("no/s")));
  EXPECT_THAT(Listener::Listen(nowhere, kFullBacklog),
              StatusIs(absl::StatusCode::kNotFound,
                       absl::StrCat("open ", dir_.File("no/"),
                                    ": No such file or directory")));
}

// Many servers start at the same moment where a file was left behind: one of
// them listens, and the others fail because of it. Without the lock some would
// remove the file of another that has bound it but does not listen yet.
TEST_F(UnixListenerTest, ExactlyOneOfManySimultaneousStartsListens) {
  constexpr int kServers = 8;
  for (int round = 0; round < 20; ++round) {
    ASSERT_THAT(Listen(), IsOk());  // closed at once; the file stays
    int start[2], won[2], stop[2];
    ASSERT_EQ(pipe(start), 0);
    ASSERT_EQ(pipe(won), 0);
    ASSERT_EQ(pipe(stop), 0);
    for (int i = 0; i < kServers; ++i) {
      if (fork() != 0) continue;
      char byte;
      close(start[1]);
      close(stop[1]);
      if (read(start[0], &byte, 1) != 0) _exit(1);
      const absl::StatusOr<Listener> listener = Listen();
      byte = listener.ok() ? 'y' : 'n';
      if (write(won[1], &byte, 1) != 1) _exit(1);
      // Listens until all others have tried.
      if (read(stop[0], &byte, 1) != 0) _exit(1);
      _exit(0);
    }
    close(start[1]);  // now
    close(won[1]);
    int winners = 0;
    for (int i = 0; i < kServers; ++i) {
      char byte = 0;
      ASSERT_EQ(read(won[0], &byte, 1), 1);
      if (byte == 'y') ++winners;
    }
    EXPECT_EQ(winners, 1);
    EXPECT_THAT(TestClient::Connect(endpoint_), IsOk());
    for (int fd : {start[0], won[0], stop[0], stop[1]}) close(fd);
    for (int i = 0; i < kServers; ++i) {
      int status = -1;
      wait(&status);
      EXPECT_EQ(status, 0);
    }
  }
}

// The file may look like one that was left behind: its socket is bound and does
// not listen yet.
//
// A19. Any user who may read the directory can hold its lock without limit:
// whether the socket is new or was left behind. It costs a second.
TEST_F(UnixListenerTest, ListensWithoutALockThatAnotherProcessKeeps) {
  const Socket lock =
      Socket::Adopt(open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY));
  ASSERT_EQ(flock(lock.fd(), LOCK_EX), 0);
  const Instant start = Now();
  for (int i = 0; i < 2; ++i) {
    absl::StatusOr<Listener> listener = Listen();
    ASSERT_THAT(listener, IsOk());
    EXPECT_THAT(TestClient::Connect(endpoint_), IsOk());
  }
  EXPECT_GE(absl::FromChrono(Now() - start), absl::Seconds(2));
}

// A user may have permission to create files in a directory, and not to list
// it.
TEST_F(UnixListenerTest, NeedsNoPermissionToReadTheDirectory) {
  const pid_t child = fork();
  if (child == 0) {
    if (chmod(dir_.path().c_str(), 0300) < 0) _exit(2);
    // Root may list every directory, unless it gives its capabilities up.
    __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct none[2] = {};
    if (syscall(SYS_capset, &header, none) < 0) _exit(3);
    if (open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY) >= 0) _exit(4);
    _exit(Listen().ok() ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(chmod(dir_.path().c_str(), 0700), 0);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST_F(UnixListenerTest, NeedsNoFile) {
  const Endpoint endpoint =
      *Endpoint::Parse(absl::StrCat("unix:@brood.", getpid()));
  const absl::StatusOr<Listener> listener =
      Listener::Listen(endpoint, kFullBacklog);
  ASSERT_THAT(listener, IsOk());
  EXPECT_THAT(TestClient::Connect(endpoint), IsOk());
  EXPECT_THAT(Listener::Listen(endpoint, kFullBacklog),
              StatusIs(absl::ErrnoToStatusCode(EADDRINUSE)));
}

TEST_F(UnixListenerTest, CountsWhoWaitsInTheQueue) {
  absl::StatusOr<Listener> listener = Listen();
  ASSERT_THAT(listener, IsOk());
  std::vector<TestClient> clients;
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(listener->queued(), i);
    clients.push_back(*TestClient::Connect(endpoint_));
  }
  listener->Accept();
  EXPECT_EQ(listener->queued(), 4);
  listener->Close();
  EXPECT_EQ(listener->queued(), 0);
}

TEST_F(UnixListenerTest, IgnoresThePeerTimeout) {
  absl::StatusOr<Listener> listener = Listen();
  ASSERT_THAT(listener, IsOk());
  EXPECT_THAT(listener->SetPeerTimeout(absl::Seconds(5)), IsOk());
}

}  // namespace
}  // namespace brood::net
