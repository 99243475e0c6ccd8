// SPDX-License-Identifier: Apache-2.0

// LeakCheck: a test fixture that finds what a test has left behind.
//
// It takes a census of its process before and after each test, and the test
// fails for every difference, by name:
//
//   descriptors    number by number, with what each refers to
//   threads        how many there are
//   children       alive or zombies
//   signals        which are blocked, and what each one does (but for the two
//                  that the C library keeps for itself)
//
// The first census is taken when the fixture is constructed and the second when
// it is destroyed: what a derived fixture keeps in its members is gone by then,
// and need not be cleaned up in TearDown().
//
// Census is a value for whoever wants the same elsewhere, such as inside a
// server process. It works in any process, and changes nothing there. What
// cannot be read in /proc counts as empty; nothing else can fail.
//
// Example:
//   class PipeTest : public brood::testing::LeakCheck {};
//   TEST_F(PipeTest, HasTwoEnds) {
//     int ends[2];
//     ASSERT_EQ(pipe(ends), 0);
//     EXPECT_NE(ends[0], ends[1]);
//     for (int end : ends) close(end);  // or "descriptor 3 was left open"
//   }

#ifndef BROOD_TESTING_LEAK_CHECK_H_
#define BROOD_TESTING_LEAK_CHECK_H_

#include <sys/types.h>

#include <csignal>
#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace brood::testing {

class Census {
 public:
  // Of the process that calls.
  static Census Take();

  // What is different in `after`, a sentence for each thing; empty if nothing
  // is. A child that has gone since `before` is no difference.
  static std::vector<std::string> Difference(const Census& before,
                                             const Census& after);

  // Leaves `fd` out of this census: for one that is known to be closed soon.
  void Forget(int fd) { descriptors_.erase(fd); }

 private:
  std::map<int, std::string> descriptors_;  // what each refers to
  int threads_ = 0;
  std::map<pid_t, std::string> children_;  // what each does
  // What the kernel says to a wait for any child, however it is listed.
  bool has_children_ = false;
  sigset_t blocked_;
  std::map<int, std::string> actions_;  // what each signal does
};

class LeakCheck : public ::testing::Test {
 protected:
  LeakCheck() : before_(Census::Take()) {}
  ~LeakCheck() override;

 private:
  const Census before_;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_LEAK_CHECK_H_
