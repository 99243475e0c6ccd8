// SPDX-License-Identifier: Apache-2.0

#include "brood/server/exec/variables.h"

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace {

size_t allocations = 0;

}  // namespace

void* operator new(size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t /*size*/) noexcept {
  std::free(memory);
}

namespace brood::server {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

std::vector<std::string> TextsOf(Variables& variables) {
  std::vector<std::string> texts;
  for (char* const* each = variables.Environment(); *each != nullptr; ++each) {
    texts.emplace_back(*each);
  }
  return texts;
}

TEST(VariablesTest, BeginWithThoseOfEachProgram) {
  const std::vector<std::string> lasting = {"PATH=/bin", "TZ="};
  Variables variables(lasting);
  EXPECT_THAT(TextsOf(variables), ElementsAre("PATH=/bin", "TZ="));
  variables.Add("PROTO", "TCP");
  variables.Add("TCPREMOTEPORT", 40112);
  variables.Add("EMPTY", "");
  EXPECT_THAT(TextsOf(variables), ElementsAre("PATH=/bin", "TZ=", "PROTO=TCP",
                                              "TCPREMOTEPORT=40112", "EMPTY="));
}

TEST(VariablesTest, HaveNoLimit) {
  const std::vector<std::string> lasting(100, "A=1");
  std::vector<std::string> expected = lasting;
  Variables variables(lasting);
  for (int i = 0; i < 100; ++i) {
    const std::string value(i, 'x');
    variables.Add("NAME", value);
    expected.push_back(absl::StrCat("NAME=", value));
  }
  EXPECT_THAT(TextsOf(variables), ElementsAreArray(expected));
}

TEST(VariablesTest, AllocateNothingForAUsualConnection) {
  const std::vector<std::string> lasting(30, "NAME=a value of the server");
  const size_t before = allocations;
  Variables variables(lasting);
  for (int i = 0; i < 12; ++i) {
    variables.Add("TCPREMOTEIP", "2001:db8:1234:5678:9abc:def0:1234:5678");
  }
  EXPECT_NE(variables.Environment()[41], nullptr);
  EXPECT_EQ(allocations, before);
  const auto is_counted = std::make_unique<int>(0);
  EXPECT_GT(allocations, before);
}

}  // namespace
}  // namespace brood::server
