// SPDX-License-Identifier: Apache-2.0

// Which file is at a path, and to which socket it belongs.

#include "brood/net/unix_file/socket_file.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "brood/net/socket.h"
#include "brood/net/unix_file/unix_diag.h"
#include "brood/testing/leak_check.h"
#include "brood/testing/status_matchers.h"
#include "brood/testing/support/short_dir.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace brood::net {
namespace {

using ::brood::testing::IsOk;
using ::brood::testing::ShortDir;
using ::brood::testing::StatusIs;
using ::testing::HasSubstr;

class SocketFileTest : public ::brood::testing::LeakCheck {
 protected:
  // Returns a socket that listens at `path`, spelled as it is.
  static Socket ListenAt(const std::string& path, int type = SOCK_STREAM) {
    Socket socket = Socket::Adopt(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof(address.sun_path));
    EXPECT_EQ(bind(socket.fd(), reinterpret_cast<sockaddr*>(&address),
                   sizeof(address)),
              0);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(listen(socket.fd(), 8), 0);
    }
    return socket;
  }
  static mode_t ModeOf(const std::string& path) {
    struct stat file = {};
    EXPECT_EQ(stat(path.c_str(), &file), 0) << path;
    return file.st_mode & 07777;
  }

  const ShortDir dir_;
  const std::string path_ = dir_.File("s");
};

// Tested paths by which a client can connect: a link to the file, a link to its
// directory, "//", "..", and a relative path.
TEST_F(SocketFileTest, FindsItsFileByEachPathThatLeadsThere) {
  const Socket socket = ListenAt(path_);
  ASSERT_EQ(symlink(path_.c_str(), dir_.File("link").c_str()), 0);
  ASSERT_EQ(symlink(dir_.path().c_str(), dir_.File("dir").c_str()), 0);
  ASSERT_EQ(link(path_.c_str(), dir_.File("hard").c_str()), 0);
  const std::string base = dir_.path().substr(5);  // after "/tmp/"
  for (const std::string& path :
       {path_, dir_.File("link"), dir_.File("hard"), dir_.File("dir/s"),
        dir_.File("/s"), dir_.File("./s"), dir_.File("../" + base + "/s")}) {
    EXPECT_EQ(LookForSocketFile(socket.fd(), path), FileState::kOurs) << path;
    EXPECT_TRUE(IsSameFile(path_, path)) << path;
    EXPECT_TRUE(IsSameFile(path, path_)) << path;
  }
}

TEST_F(SocketFileTest, RecognizesItsFileByAnyBoundName) {
  char before[4096];
  ASSERT_NE(getcwd(before, sizeof(before)), nullptr);
  const absl::Cleanup back = [&before] { EXPECT_EQ(chdir(before), 0); };
  ASSERT_EQ(chdir(dir_.path().c_str()), 0);
  for (const std::string name : {"s", "./s", "a\nb", "a b,c", "\xff"}) {
    const Socket socket = ListenAt(name);
    EXPECT_EQ(LookForSocketFile(socket.fd(), dir_.File(name)), FileState::kOurs)
        << name;
    ASSERT_EQ(rename(name.c_str(), "moved"), 0);
    EXPECT_EQ(LookForSocketFile(socket.fd(), dir_.File("moved")),
              FileState::kOurs);
    EXPECT_EQ(LookForSocketFile(socket.fd(), dir_.File(name)),
              FileState::kMissing);
    unlink("moved");
  }
}

TEST_F(SocketFileTest, ReportsRemovedFile) {
  const Socket socket = ListenAt(path_);
  ASSERT_EQ(unlink(path_.c_str()), 0);
  EXPECT_EQ(LookForSocketFile(socket.fd(), path_), FileState::kMissing);
  // The file is removed with its directory, whose path may be a file
  // afterwards.
  for (const char* gone : {"no/s", "file/s", "loop", "dangling"}) {
    std::ofstream(dir_.File("file")) << "text";
    symlink("loop", dir_.File("loop").c_str());
    symlink("nowhere", dir_.File("dangling").c_str());
    EXPECT_EQ(LookForSocketFile(socket.fd(), dir_.File(gone)),
              FileState::kMissing)
        << gone;
  }
}

TEST_F(SocketFileTest, DistinguishesOtherFilesFromItsOwn) {
  const Socket socket = ListenAt(path_);
  unlink(path_.c_str());
  const auto expect_foreign = [&](const char* what) {
    EXPECT_EQ(LookForSocketFile(socket.fd(), path_), FileState::kForeign)
        << what;
    EXPECT_THAT(SetModeOfFileOf(socket.fd(), path_, 0123),
                StatusIs(absl::StatusCode::kFailedPrecondition,
                         HasSubstr("the file is not that of this socket")));
    EXPECT_NE(ModeOf(path_), 0123u) << what;
    EXPECT_TRUE(remove(path_.c_str()) == 0) << what;
  };
  const Socket other = ListenAt(path_);
  expect_foreign("a socket that listens");
  ListenAt(path_);
  expect_foreign("a socket that was left behind");
  const Socket datagrams = ListenAt(path_, SOCK_DGRAM);
  expect_foreign("a socket of another kind");
  std::ofstream(path_) << "text";
  expect_foreign("a file");
  ASSERT_EQ(mkdir(path_.c_str(), 0700), 0);
  expect_foreign("a directory");
  ASSERT_EQ(mkfifo(path_.c_str(), 0600), 0);
  expect_foreign("a FIFO");
  std::ofstream(dir_.File("file")) << "text";
  ASSERT_EQ(symlink("file", path_.c_str()), 0);
  expect_foreign("a link to a file");
}

// The number of an inode is used again as soon as it is free; that of a
// socket's file is not free while the socket exists.
TEST_F(SocketFileTest, IgnoresReusedInodeNumbers) {
  const Socket socket = ListenAt(path_);
  for (int i = 0; i < 50; ++i) {
    unlink(path_.c_str());
    const Socket other = ListenAt(path_);
    EXPECT_EQ(LookForSocketFile(socket.fd(), path_), FileState::kForeign);
    EXPECT_EQ(LookForSocketFile(other.fd(), path_), FileState::kOurs);
  }
}

TEST_F(SocketFileTest, ComparesPathsOfFilesThatAreGone) {
  ASSERT_EQ(symlink(dir_.path().c_str(), dir_.File("dir").c_str()), 0);
  EXPECT_TRUE(IsSameFile(path_, dir_.File("dir/s")));
  EXPECT_TRUE(IsSameFile(path_, dir_.File("//s")));
  EXPECT_FALSE(IsSameFile(path_, dir_.File("other")));
  EXPECT_FALSE(IsSameFile(path_, "/tmp/s"));
  EXPECT_FALSE(IsSameFile(dir_.File("no/s"), dir_.File("no/s")))
      << "there is no directory to compare";
}

TEST_F(SocketFileTest, HasNoFileIfItsNameIsAbstract) {
  const std::string name = std::string(1, '\0') + "brood." + path_;
  const Socket socket = ListenAt(name);
  const absl::optional<UnixSocketState> state = AskAboutUnixSocket(socket.fd());
  ASSERT_TRUE(state.has_value());
  EXPECT_FALSE(state->file.has_value());
  EXPECT_EQ(state->backlog, 8);
}

TEST_F(SocketFileTest, ChangesTheModeOfItsOwnFile) {
  const Socket socket = ListenAt(path_);
  ASSERT_EQ(symlink(path_.c_str(), dir_.File("link").c_str()), 0);
  for (const mode_t mode : {0600, 0666, 0000, 0660, 0777, 0600}) {
    EXPECT_THAT(SetModeOfFileOf(socket.fd(), dir_.File("link"), mode), IsOk());
    EXPECT_EQ(ModeOf(path_), mode);
    EXPECT_THAT(SetModeOfNewFile(path_, 0640), IsOk());
    EXPECT_EQ(ModeOf(path_), 0640u);
  }
}

TEST_F(SocketFileTest, FollowsNoLinkToWhatIsNew) {
  const Socket socket = ListenAt(path_);
  ASSERT_EQ(chmod(path_.c_str(), 0600), 0);
  ASSERT_EQ(symlink(path_.c_str(), dir_.File("link").c_str()), 0);
  EXPECT_THAT(SetModeOfNewFile(dir_.File("link"), 0666),
              StatusIs(absl::StatusCode::kAborted));
  EXPECT_EQ(ModeOf(path_), 0600u);
}

TEST_F(SocketFileTest, RemovesFileUnlessKept) {
  const Socket socket = ListenAt(path_);
  { NewSocketFile file(path_); }
  EXPECT_EQ(access(path_.c_str(), F_OK), -1);
  const Socket again = ListenAt(path_);
  {
    NewSocketFile file(path_), other;
    other = std::move(file);
    NewSocketFile third(std::move(other));
    third.Keep();
  }
  EXPECT_EQ(access(path_.c_str(), F_OK), 0);
  {
    NewSocketFile file(path_);
    file = NewSocketFile();
    EXPECT_EQ(access(path_.c_str(), F_OK), -1);
  }
}

TEST_F(SocketFileTest, LeavesAFileThatAnotherProcessHasPutThere) {
  const Socket socket = ListenAt(path_);
  {
    const NewSocketFile file(path_);
    unlink(path_.c_str());
    std::ofstream(path_) << "text";
  }
  EXPECT_EQ(access(path_.c_str(), F_OK), 0);
  { const NewSocketFile nothing(dir_.File("no/s")), empty(""); }
}

}  // namespace
}  // namespace brood::net
