// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_VOCABULARY_CHILD_TAG_H_
#define BROOD_SERVER_VOCABULARY_CHILD_TAG_H_

#include <cstdint>

namespace brood::server {

// ChildTag is the kind and the index of a child of the server, in the 32 bits
// that the reaper stores for each child. A value of the parent.
//
// Example:
//   reaper->Adopt(std::move(child), ChildTag::Connection(slot).Pack());
//   ... when it has ended:
//   switch (ChildTag::Unpack(ended.tag).kind) {
struct ChildTag {
  // Kind is what a child of the server does.
  enum class Kind : uint32_t {
    kConnection,  // serves one connection; index: its slot
    kWorker,      // a worker of a pool, or a spare; index: of the worker
    kZygote,      // forks processes for connections
    kStandby,     // takes over from the zygote
    kProgram,     // the new program of an upgrade
    kRehearsal,   // does nothing; shows that children can be created
  };

  static constexpr int kIndexBits = 28;

  Kind kind;
  uint32_t index;

  // Returns the tag of the child that serves the connection in `slot`.
  static constexpr ChildTag Connection(uint32_t slot) {
    return {Kind::kConnection, slot};
  }
  // Returns the tag of the worker, or of the spare, with the number `index`.
  static constexpr ChildTag Worker(uint32_t index) {
    return {Kind::kWorker, index};
  }
  // Returns the tag of the zygote.
  static constexpr ChildTag Zygote() { return {Kind::kZygote, 0}; }
  // Returns the tag of the standby.
  static constexpr ChildTag Standby() { return {Kind::kStandby, 0}; }
  // Returns the tag of the new program of an upgrade.
  static constexpr ChildTag Program() { return {Kind::kProgram, 0}; }
  // Returns the tag of a child that does nothing.
  static constexpr ChildTag Rehearsal() { return {Kind::kRehearsal, 0}; }

  // Returns the tag as the reaper stores it.
  constexpr uint32_t Pack() const {
    return static_cast<uint32_t>(kind) << kIndexBits | index;
  }
  // Returns the tag from which Pack() made `packed`.
  static constexpr ChildTag Unpack(uint32_t packed) {
    return {static_cast<Kind>(packed >> kIndexBits),
            packed & ((uint32_t{1} << kIndexBits) - 1)};
  }
};

}  // namespace brood::server

#endif  // BROOD_SERVER_VOCABULARY_CHILD_TAG_H_
