// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_VOCABULARY_SLOT_H_
#define BROOD_SERVER_VOCABULARY_SLOT_H_

#include <cstdint>

namespace brood::server {

// Slot is the place of one connection: an index from 0 to Options::Capacity()
// minus 1, claimed when the connection is accepted and freed when it has ended.
// A value; the scoreboard, the deadlines, the strategies and the tags of
// children use it.
using Slot = uint32_t;

}  // namespace brood::server

#endif  // BROOD_SERVER_VOCABULARY_SLOT_H_
