// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_LOG_JOURNAL_H_
#define BROOD_SERVER_LOG_JOURNAL_H_

namespace brood::server {

// Returns whether descriptor `fd` is the stream that systemd's journal reads,
// which stamps each line itself: whether the variable JOURNAL_STREAM names its
// device and inode (systemd.exec(5)). Works in every process; reads the
// environment. Cannot fail: returns false if the answer is not known.
bool IsJournal(int fd);

}  // namespace brood::server

#endif  // BROOD_SERVER_LOG_JOURNAL_H_
