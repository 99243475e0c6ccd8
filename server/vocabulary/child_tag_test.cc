// SPDX-License-Identifier: Apache-2.0

#include "brood/server/vocabulary/child_tag.h"

#include <cstdint>
#include <set>

#include "gtest/gtest.h"

namespace brood::server {
namespace {

constexpr auto kMostConnections = static_cast<uint32_t>(1'000'000);

TEST(ChildTagTest, UnpacksWhatItPacked) {
  for (const ChildTag tag :
       {ChildTag::Connection(0), ChildTag::Connection(kMostConnections),
        ChildTag::Worker(0), ChildTag::Worker(kMostConnections),
        ChildTag::Zygote(), ChildTag::Standby(), ChildTag::Program()}) {
    const ChildTag unpacked = ChildTag::Unpack(tag.Pack());
    EXPECT_EQ(unpacked.kind, tag.kind);
    EXPECT_EQ(unpacked.index, tag.index);
  }
}

TEST(ChildTagTest, GivesEachKindItsOwnTags) {
  std::set<uint32_t> packed;
  for (const uint32_t index : {uint32_t{0}, uint32_t{1}, kMostConnections}) {
    packed.insert(ChildTag::Connection(index).Pack());
    packed.insert(ChildTag::Worker(index).Pack());
  }
  packed.insert(ChildTag::Zygote().Pack());
  packed.insert(ChildTag::Standby().Pack());
  packed.insert(ChildTag::Program().Pack());
  EXPECT_EQ(packed.size(), 9u);
}

}  // namespace
}  // namespace brood::server
