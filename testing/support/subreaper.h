// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_TESTING_SUPPORT_SUBREAPER_H_
#define BROOD_TESTING_SUPPORT_SUBREAPER_H_

#include <sys/prctl.h>

namespace brood::testing {

// Subreaper makes this process adopt the orphans of its children while the
// object lives (PR_SET_CHILD_SUBREAPER), and then restores the setting. For the
// fixture of a test whose server leaves processes behind.
//
// Example:
//   class ParentDeathTest : public StrategyTest {
//     const Subreaper subreaper_;
//   };
class Subreaper final {
 public:
  // Makes this process a subreaper.
  Subreaper() {
    prctl(PR_GET_CHILD_SUBREAPER, &before_);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
  }
  Subreaper(const Subreaper&) = delete;
  Subreaper& operator=(const Subreaper&) = delete;
  // Restores the setting.
  ~Subreaper() { prctl(PR_SET_CHILD_SUBREAPER, before_); }

 private:
  int before_ = 0;
};

}  // namespace brood::testing

#endif  // BROOD_TESTING_SUPPORT_SUBREAPER_H_
