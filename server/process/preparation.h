// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_PROCESS_PREPARATION_H_
#define BROOD_SERVER_PROCESS_PREPARATION_H_

#include <sys/resource.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/types/optional.h"

namespace brood::server {

// Preparation is the record of what PrepareProcess() has changed in this
// process, and of what is unusual and was left as it is.
//
// Written by PrepareProcess(), before the process has threads; read by the
// servers of the process. A process that is forked has a copy of the record,
// and of the changed state. No errors.
//
// Example:
//   Preparation& preparation = Preparation::OfThisProcess();
//   preparation.Changed("opened descriptor 0");
//   preparation.TakeReport();  // "opened descriptor 0"
class Preparation {
 public:
  // Returns the record of this process, which is empty if PrepareProcess() has
  // changed nothing.
  static Preparation& OfThisProcess();

  // Adds a change, as a phrase for the log.
  void Changed(std::string phrase) { changes_.push_back(std::move(phrase)); }
  // Adds what is unusual and was left as it is, as a phrase for the log.
  void Noticed(std::string phrase) { notices_.push_back(std::move(phrase)); }
  // Adds that the soft limit of descriptors was raised. `before` is the limit
  // that the process was started with.
  void RaisedDescriptors(const rlimit& before) {
    if (!descriptors_before_) descriptors_before_ = before;
  }

  // Returns the phrases of all changes, and then of what was noticed, separated
  // by semicolons. Returns nothing if nothing was changed since the last call.
  std::string TakeReport();
  // Returns the limit of descriptors with which this process was started, and
  // which children and programs get; nothing if it was not changed.
  const absl::optional<rlimit>& descriptors_before() const {
    return descriptors_before_;
  }

 private:
  Preparation() = default;

  std::vector<std::string> changes_;
  std::vector<std::string> notices_;
  absl::optional<rlimit> descriptors_before_;
};

}  // namespace brood::server

#endif  // BROOD_SERVER_PROCESS_PREPARATION_H_
