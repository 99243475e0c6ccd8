// SPDX-License-Identifier: Apache-2.0

// The protections of the server program, read from its ELF file, as the kernel
// reads it.
//
// Every static program has stack protectors and fortified calls, because the C
// library has them. Whether our code has them is seen in its machine code and
// in the compiler's macros. A build with a sanitizer is not shipped, and not
// tested.

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/base/config.h"
#include "absl/strings/match.h"
#include "absl/strings/string_view.h"
#include "gtest/gtest.h"

namespace brood {
namespace {

#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
constexpr bool kShipped = false;
#else
constexpr bool kShipped = true;
#endif

// Reads the program file of //server.
class HardeningTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kShipped) GTEST_SKIP() << "not a build that is shipped";
    std::ifstream file("server/server", std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file),
                  std::istreambuf_iterator<char>());
    ASSERT_GT(bytes_.size(), sizeof(Elf64_Ehdr)) << "where is the server?";
    header_ = At<Elf64_Ehdr>(0);
    ASSERT_EQ(std::memcmp(header_.e_ident, ELFMAG, SELFMAG), 0);
    ASSERT_EQ(header_.e_ident[EI_CLASS], ELFCLASS64);
  }

  template <typename T>
  T At(size_t offset) const {
    T value = {};
    EXPECT_LE(offset + sizeof(value), bytes_.size()) << "a torn file";
    if (offset + sizeof(value) <= bytes_.size()) {
      std::memcpy(&value, bytes_.data() + offset, sizeof(value));
    }
    return value;
  }

  std::vector<Elf64_Phdr> Segments(uint32_t type) const {
    std::vector<Elf64_Phdr> found;
    for (int i = 0; i < header_.e_phnum; ++i) {
      const auto segment =
          At<Elf64_Phdr>(header_.e_phoff + i * sizeof(Elf64_Phdr));
      if (segment.p_type == type) found.push_back(segment);
    }
    return found;
  }

  // Returns the values of an entry of the dynamic section, combined by bitwise
  // or.
  uint64_t Dynamic(int64_t tag) const {
    uint64_t value = 0;
    for (const Elf64_Phdr& segment : Segments(PT_DYNAMIC)) {
      for (size_t at = 0; at < segment.p_filesz; at += sizeof(Elf64_Dyn)) {
        const auto entry = At<Elf64_Dyn>(segment.p_offset + at);
        if (entry.d_tag == tag) value |= entry.d_un.d_val;
      }
    }
    return value;
  }

  std::vector<Elf64_Shdr> Sections() const {
    std::vector<Elf64_Shdr> sections;
    for (int i = 0; i < header_.e_shnum; ++i) {
      sections.push_back(
          At<Elf64_Shdr>(header_.e_shoff + i * sizeof(Elf64_Shdr)));
    }
    return sections;
  }

  // Returns the machine code of the symbols that begin with `name`. A compiler
  // may put parts of a function that seldom run elsewhere ("name.cold"): the
  // part with the entry of the function comes first.
  std::string Code(absl::string_view name) const {
    std::string entry;
    std::string others;
    const std::vector<Elf64_Shdr> sections = Sections();
    for (const Elf64_Shdr& table : sections) {
      if (table.sh_type != SHT_SYMTAB) continue;
      const Elf64_Shdr& names = sections[table.sh_link];
      for (size_t at = 0; at < table.sh_size; at += sizeof(Elf64_Sym)) {
        const auto symbol = At<Elf64_Sym>(table.sh_offset + at);
        if (ELF64_ST_TYPE(symbol.st_info) != STT_FUNC) continue;
        const absl::string_view whole =
            &bytes_[names.sh_offset + symbol.st_name];
        if (!absl::StartsWith(whole, name)) continue;
        const Elf64_Shdr& text = sections[symbol.st_shndx];
        (absl::StrContains(whole, '.') ? others : entry) += bytes_.substr(
            symbol.st_value - text.sh_addr + text.sh_offset, symbol.st_size);
      }
    }
    return entry + others;
  }

  std::string bytes_;
  Elf64_Ehdr header_ = {};
};

TEST_F(HardeningTest, IsPositionIndependent) {
  EXPECT_EQ(header_.e_type, ET_DYN);
  EXPECT_TRUE(Dynamic(DT_FLAGS_1) & DF_1_PIE);
}

TEST_F(HardeningTest, IsRelocatedAtOnceAndThenReadOnly) {
  EXPECT_EQ(Segments(PT_GNU_RELRO).size(), 1u);
  EXPECT_TRUE((Dynamic(DT_FLAGS) & DF_BIND_NOW) ||
              (Dynamic(DT_FLAGS_1) & DF_1_NOW));
  EXPECT_FALSE(Dynamic(DT_FLAGS) & DF_TEXTREL);
}

// proc/memory/exception_tables.S: they take no place beside the code, and are
// as protected there.
TEST_F(HardeningTest, TablesForExceptionsAreReadOnlyAfterRelocation) {
  const std::vector<Elf64_Phdr> read_only = Segments(PT_GNU_RELRO);
  ASSERT_EQ(read_only.size(), 1u);
  const std::vector<Elf64_Shdr> sections = Sections();
  size_t found = 0;
  for (const Elf64_Shdr& section : sections) {
    const absl::string_view name =
        &bytes_[sections[header_.e_shstrndx].sh_offset + section.sh_name];
    if (name != ".eh_frame" && name != ".gcc_except_table") continue;
    ++found;
    EXPECT_GE(section.sh_addr, read_only[0].p_vaddr) << name;
    EXPECT_LE(section.sh_addr + section.sh_size,
              read_only[0].p_vaddr + read_only[0].p_memsz)
        << name;
  }
  EXPECT_EQ(found, 2u);
  EXPECT_EQ(Segments(PT_GNU_EH_FRAME).size(), 1u) << "no index of the tables";
}

TEST_F(HardeningTest, HasNoExecutableStack) {
  const std::vector<Elf64_Phdr> stacks = Segments(PT_GNU_STACK);
  ASSERT_EQ(stacks.size(), 1u) << "without one the stack is executable";
  EXPECT_FALSE(stacks[0].p_flags & PF_X);
}

TEST_F(HardeningTest, HasNoMemoryThatIsBothWritableAndExecutable) {
  EXPECT_FALSE(Segments(PT_LOAD).empty());
  for (const Elf64_Phdr& segment : Segments(PT_LOAD)) {
    EXPECT_FALSE((segment.p_flags & PF_W) && (segment.p_flags & PF_X));
  }
}

TEST_F(HardeningTest, NeedsNoInterpreterAndNoLibrary) {
  EXPECT_TRUE(Segments(PT_INTERP).empty());
  EXPECT_EQ(Dynamic(DT_NEEDED), 0u);
}

// The following protections need the optimizer, so only --config=opt has them,
// with which tools/release runs this test. All our code, this file too, has the
// same flags.
#ifdef __OPTIMIZE__
TEST_F(HardeningTest, OurOwnCodeIsFortified) {
  EXPECT_GE(__USE_FORTIFY_LEVEL, 2);
}

TEST_F(HardeningTest, ContainersCheckTheirIndices) {
#ifndef _GLIBCXX_ASSERTIONS
  ADD_FAILURE() << "_GLIBCXX_ASSERTIONS is not defined";
#endif
}

#ifdef __x86_64__
// The parser of addresses compares the stack guard, which is at %fs:0x28.
TEST_F(HardeningTest, OurOwnCodeHasStackProtectors) {
  const std::string code = Code("_ZN5brood3net8Endpoint5ParseE");
  ASSERT_NE(code, "") << "no symbol of Endpoint::Parse";
  EXPECT_NE(code.find(std::string("\x25\x28\x00\x00\x00", 5)),
            std::string::npos)
      << "Endpoint::Parse() does not look at %fs:0x28";
}

TEST_F(HardeningTest, OurOwnFunctionsBeginWithALandingPad) {
  const std::string code = Code("_ZN5brood3net8Endpoint5ParseE");
  EXPECT_TRUE(absl::StartsWith(code, "\xf3\x0f\x1e\xfa"))
      << "Endpoint::Parse() does not begin with endbr64";
}

// WriteJson has a buffer of a page, and could step over a guard page.
TEST_F(HardeningTest, LargeFramesTouchEachOfTheirPages) {
  const std::string code = Code("_ZN5brood6server12_GLOBAL__N_19WriteJsonE");
  ASSERT_NE(code, "") << "no symbol of WriteJson";
  EXPECT_NE(code.find(std::string("\x48\x83\x0c\x24\x00", 5)),
            std::string::npos)
      << "WriteJson() does not touch its pages: or $0, (%rsp)";
}
#endif
#endif

}  // namespace
}  // namespace brood
