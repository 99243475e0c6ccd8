// SPDX-License-Identifier: Apache-2.0

#include "brood/testing/syscalls/syscall_sites.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"

namespace brood::testing {
namespace {

// The distance in bytes from the place of a relocation to the return address.
constexpr uintptr_t kLengthOfCall = 4;

[[noreturn]] void GiveUp(const char* why) {
  std::fprintf(stderr, "syscall table: %s\n", why);
  std::abort();
}

// The parts of the file of this program that are needed. The program was linked
// and runs, so that the file is well-formed.
class Program {
 public:
  Program() {
    std::ifstream file("/proc/self/exe", std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    if (bytes_.size() < sizeof(Elf64_Ehdr)) GiveUp("cannot read this program");
    sections_ = reinterpret_cast<const Elf64_Shdr*>(At(header().e_shoff));
  }

  const Elf64_Shdr* begin() const { return sections_; }
  const Elf64_Shdr* end() const { return sections_ + header().e_shnum; }
  const Elf64_Shdr& section(size_t index) const { return sections_[index]; }

  template <typename T>
  const T* Content(const Elf64_Shdr& section) const {
    return reinterpret_cast<const T*>(At(section.sh_offset));
  }

 private:
  const char* At(size_t offset) const { return bytes_.data() + offset; }
  const Elf64_Ehdr& header() const {
    return *reinterpret_cast<const Elf64_Ehdr*>(bytes_.data());
  }

  std::string bytes_;
  const Elf64_Shdr* sections_;
};

uintptr_t LoadAddress() {
  uintptr_t address = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* program, size_t /*size*/, void* out) {
        *static_cast<uintptr_t*>(out) = program->dlpi_addr;
        return 1;  // the first one is the main program
      },
      &address);
  return address;
}

// Returns the beginning of a mangled name for a namespace such as "brood::net".
std::string Mangle(const std::string& name) {
  std::string mangled;
  for (absl::string_view part : absl::StrSplit(name, "::")) {
    absl::StrAppend(&mangled, part.size(), part);
  }
  return mangled;
}

// Reports whether a function, or the function that it is local to, is in one of
// the namespaces.
bool IsIn(absl::string_view symbol, const std::vector<std::string>& mangled) {
  if (!absl::ConsumePrefix(&symbol, "_Z")) return false;
  // A nested name, of a const function, of a local entity.
  while (!symbol.empty() && strchr("NKZ", symbol[0]) != nullptr) {
    symbol.remove_prefix(1);
  }
  return std::any_of(mangled.begin(), mangled.end(),
                     [symbol](const std::string& name) {
                       return absl::StartsWith(symbol, name);
                     });
}

std::string Demangle(const char* symbol) {
  int status;
  const std::unique_ptr<char, void (*)(void*)> text(
      abi::__cxa_demangle(symbol, nullptr, nullptr, &status), std::free);
  return text == nullptr ? symbol : text.get();
}

struct Function {
  Elf64_Addr begin, end;
  const char* symbol;
};

std::vector<Function> FunctionsIn(const Program& program,
                                  const Elf64_Shdr& symbols,
                                  const std::vector<std::string>& mangled) {
  const auto* names = program.Content<char>(program.section(symbols.sh_link));
  const auto* first = program.Content<Elf64_Sym>(symbols);
  std::vector<Function> functions;
  for (const auto* symbol = first;
       symbol != first + symbols.sh_size / sizeof(Elf64_Sym); ++symbol) {
    const char* name = names + symbol->st_name;
    if (ELF64_ST_TYPE(symbol->st_info) != STT_FUNC || !IsIn(name, mangled)) {
      continue;
    }
    functions.push_back(
        {symbol->st_value, symbol->st_value + symbol->st_size, name});
  }
  std::sort(
      functions.begin(), functions.end(),
      [](const Function& a, const Function& b) { return a.begin < b.begin; });
  return functions;
}

const Function* Around(const std::vector<Function>& functions,
                       Elf64_Addr address) {
  const auto after = std::upper_bound(
      functions.begin(), functions.end(), address,
      [](Elf64_Addr wanted, const Function& f) { return wanted < f.begin; });
  if (after == functions.begin() || address >= std::prev(after)->end) {
    return nullptr;
  }
  return &*std::prev(after);
}

}  // namespace

std::string ShortenFunction(const std::string& demangled) {
  // "... [clone .localalias]": another name for the same function.
  std::string text =
      absl::StrReplaceAll(demangled.substr(0, demangled.find(" [clone")),
                          {{"(anonymous namespace)::", ""},
                           {"operator()", "operator"},
                           {"[abi:cxx11]", ""}});
  std::string shortened;
  int depth = 0;
  for (char c : text) {
    if (c == '(' || c == '<') ++depth;
    if (depth == 0) shortened += c;
    if (c == ')' || c == '>') --depth;
  }
  text = absl::StrReplaceAll(shortened, {{"}::operator", "}"}, {" const", ""}});
  // The name of a template begins with its return type.
  const size_t space = text.rfind(' ', text.find('{'));
  return space == std::string::npos ? text : text.substr(space + 1);
}

std::set<std::string> SourcesOfProgram() {
  const Program program;
  std::set<std::string> sources;
  for (const Elf64_Shdr& symbols : program) {
    if (symbols.sh_type != SHT_SYMTAB) continue;
    const auto* names = program.Content<char>(program.section(symbols.sh_link));
    const auto* first = program.Content<Elf64_Sym>(symbols);
    for (const auto* symbol = first;
         symbol != first + symbols.sh_size / sizeof(Elf64_Sym); ++symbol) {
      if (ELF64_ST_TYPE(symbol->st_info) != STT_FILE) continue;
      sources.insert(names + symbol->st_name);
    }
  }
  return sources;
}

namespace {

std::vector<CallSite> ReadCallSites(
    const std::vector<std::string>& namespaces) {
  std::vector<std::string> mangled;
  for (const std::string& name : namespaces) mangled.push_back(Mangle(name));
  const Program program;
  const uintptr_t load_address = LoadAddress();
  std::vector<CallSite> sites;
  bool has_notes = false;
  for (const Elf64_Shdr& notes : program) {
    if (notes.sh_type != SHT_RELA ||
        (program.section(notes.sh_info).sh_flags & SHF_EXECINSTR) == 0) {
      continue;
    }
    const Elf64_Shdr& symbols = program.section(notes.sh_link);
    if (symbols.sh_type != SHT_SYMTAB) continue;
    has_notes = true;
    const std::vector<Function> functions =
        FunctionsIn(program, symbols, mangled);
    const auto* names = program.Content<char>(program.section(symbols.sh_link));
    const auto* first = program.Content<Elf64_Rela>(notes);
    for (const auto* note = first;
         note != first + notes.sh_size / sizeof(Elf64_Rela); ++note) {
      const Function* function = Around(functions, note->r_offset);
      if (function == nullptr) continue;
      const Elf64_Sym& callee =
          program.Content<Elf64_Sym>(symbols)[ELF64_R_SYM(note->r_info)];
      absl::string_view name = names + callee.st_name;
      name = name.substr(0, name.find('@'));  // its version
      if (name.empty()) continue;
      sites.push_back({ShortenFunction(Demangle(function->symbol)),
                       std::string(name), callee.st_shndx == SHN_UNDEF,
                       load_address + note->r_offset + kLengthOfCall});
    }
  }
  if (!has_notes) {
    GiveUp("no relocations in this program; link it with -Wl,--emit-relocs");
  }
  std::sort(sites.begin(), sites.end(),
            [](const CallSite& a, const CallSite& b) {
              return a.returns_to < b.returns_to;
            });
  return sites;
}

}  // namespace

// Read once: the code of a program does not change, and reading is slow with a
// sanitizer.
const std::vector<CallSite>& FindCallSites(
    const std::vector<std::string>& namespaces) {
  static auto& known =
      *new std::map<std::vector<std::string>, std::vector<CallSite>>;
  const auto found = known.find(namespaces);
  if (found != known.end()) return found->second;
  return known.emplace(namespaces, ReadCallSites(namespaces)).first->second;
}

}  // namespace brood::testing
