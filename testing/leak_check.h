// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_LEAK_CHECK_H_
#define BROOD_TESTING_LEAK_CHECK_H_

#include <sys/types.h>

#include <csignal>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace brood::testing {

// Census is the state of a process that a test must not change:
//
//   descriptors    the number of each, and what it refers to
//   threads        how many there are
//   children       alive or zombies
//   signals        which are blocked, and the action of each (except the two
//                  signals that the C library uses)
//
// A value. Works in any process, such as a server process, and changes nothing
// there. What cannot be read in /proc counts as empty; nothing else can fail.
class Census {
 public:
  // Returns the census of the calling process.
  static Census Take();

  // Returns a sentence for each difference in `after`; empty if there is none.
  // A child that was reaped since `before` is no difference.
  static std::vector<std::string> Difference(const Census& before,
                                             const Census& after);

  // Removes `fd` from this census: for a descriptor that will be closed.
  void Forget(int fd) { descriptors_.erase(fd); }

 private:
  std::map<int, std::string> descriptors_;  // what each refers to
  int threads_ = 0;
  std::map<pid_t, std::string> children_;  // the state of each
  // Whether a wait for any child finds one, listed in /proc or not.
  bool has_children_ = false;
  sigset_t blocked_;
  std::map<int, std::string> actions_;  // the action of each signal
};

// LeakCheck is a test fixture that fails a test for each thing that the test
// has left behind in the test process, by name.
//
// It takes the first census in its constructor and the second in its
// destructor. The members of a derived fixture are destroyed by then, so
// TearDown() need not clean them up.
//
// Example:
//   class PipeTest : public brood::testing::LeakCheck {};
//   TEST_F(PipeTest, HasTwoEnds) {
//     int ends[2];
//     ASSERT_EQ(pipe(ends), 0);
//     EXPECT_NE(ends[0], ends[1]);
//     for (int end : ends) close(end);  // or "descriptor 3 was left open"
//   }
class LeakCheck : public ::testing::Test {
 protected:
  // Takes the first census.
  LeakCheck() : before_(Census::Take()) {}
  ~LeakCheck() override;

 private:
  const Census before_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_LEAK_CHECK_H_
