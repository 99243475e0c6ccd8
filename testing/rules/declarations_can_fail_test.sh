#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# declarations_can_fail_test.sh CHECK: tests that the check of the comments of declarations
# finds each error, and only errors.

set -euo pipefail

check="${PWD}/$1"
cd "${TEST_TMPDIR}"
failed=0

# expect VERDICT WORDS TEXT: the check passes or fails, and prints WORDS, for a header that
# has TEXT below its include guard.
expect() {
  local wanted="$1" words="$2" verdict=fails said
  printf '#ifndef X_H_\n#define X_H_\n\n%b\n#endif  // X_H_\n' "$3" >x.h
  if said="$("${check}" x.h 2>&1)"; then
    verdict=passes
  fi
  if [[ ${verdict} != "${wanted}" || ${said} != *"${words}"* ]]; then
    echo "line ${BASH_LINENO[0]}: it ${verdict}, and says: ${said}" >&2
    failed=1
  fi
}

# in_class VERDICT WORDS MEMBERS: the same for a class with these MEMBERS.
in_class() { expect "$1" "$2" "// X is.\nclass X {\n public:\n$3};\n"; }

in_class passes '2 declarations' \
  '  // Does a.\n  void A();\n  // Does b.\n  int B() const { return 1; }\n'
in_class passes '1 declarations' '  // Does a.\n  void A(int b,\n         int c);\n'
in_class passes '1 declarations' '  // Does a.\n  template <typename T>\n  void A(T b);\n'
in_class passes '1 declarations' \
  '  // Does a.\n  template <typename T,\n            typename U = F<int()>>\n  void A(T b);\n'
in_class passes '1 declarations' '  // Does a.\n  // NOLINTNEXTLINE(x)\n  void A();\n'
in_class passes '1 declarations' '  // Does a.\n  void A() {\n    B();\n    if (C()) D();\n  }\n'
in_class passes '1 declarations' \
  '  // Makes a.\n  explicit X(int a)\n      : a_(a),\n        b_{C()} {}\n'
# These need no comment.
in_class passes '0 declarations' \
  '  void A() override;\n  void B(int c,\n         int d) const override {\n    C();\n  }\n'
in_class passes '0 declarations' \
  '  void A() noexcept override { b_ = C(); }\n  int B() final { return 1; }\n'
in_class passes '0 declarations' \
  '  X() = default;\n  X(const X&) = delete;\n  ~X();\n  ~X() { A(); }\n'
in_class passes '0 declarations' \
  '  bool operator()(int a) const;\n  operator bool() const { return true; }\n'
in_class passes '0 declarations' \
  '  friend void A(int b);\n  static_assert(sizeof(int) == 4, "a");\n'
in_class passes '0 declarations' '  void A(std::vector<int> b = {\n             1, 2}) override;\n'
# These declare no function.
in_class passes '0 declarations' '  int a_ = B();\n  int c_{D()};\n  char e_[sizeof(int)];\n'
in_class passes '0 declarations' \
  '  std::function<int(int)> a_;\n  int (*b_)(int);\n  F<void(G<int()>)> c_;\n'
in_class passes '0 declarations' \
  '  enum class A { kB, kC };\n  using D = F<int()>;\n  struct E;\n'
in_class passes '0 declarations' \
  '  struct alignas(64) A {\n    int b = 0;\n  };\n  struct C {\n    int d;\n  } e_;\n'
expect passes '0 declarations' 'void A();\nint B() {\n  C();\n}\nstruct stat D() {\n  E();\n}\n'

in_class fails 'x.h:7: A has no comment' '  void A();\n'
in_class fails 'A has no comment' '  // Does a.\n\n  void A();\n'
in_class fails 'B has no comment' '  // Does a and b.\n  void A();\n  void B();\n'
in_class fails 'B has no comment' \
  '  // Does a.\n  int A() const { return 1; }\n  int B() const { return 2; }\n'
in_class fails 'B has no comment' \
  '  // Does a.\n  void A() {\n    C();  // for c\n  }\n  void B();\n'
in_class fails 'A has no comment' '  void A(int b,\n         int c);\n'
in_class fails 'A has no comment' '  std::vector<int>\n  A(int b);\n'
in_class fails 'A has no comment' '\n private:\n  void A();\n'
in_class fails 'A has no comment' '  // These are private.\n private:\n  void A();\n'
in_class fails 'A has no comment' '  template <typename T>\n  void A(T b);\n'
in_class fails 'A has no comment' \
  '  template <typename T,\n            typename U>\n  void A(T b);\n'
in_class fails 'A has no comment' '  virtual void A() = 0;\n'
in_class fails 'A has no comment' '  [[noreturn]] static void A(std::function<int()> b);\n'
in_class fails 'A has no comment' '  std::function<int(int)> A() const;\n'
in_class fails 'A has no comment' '  struct stat A() const;\n'
in_class fails 'A has no comment' '  void A(absl::string_view override = "// override");\n'
in_class fails 'A has no comment' '  void A(absl::string_view b = "\\"// ");\n'
in_class fails 'A has no comment' '  void A(int /*b(*/);\n'
in_class fails 'A has no comment' '  // NOLINTNEXTLINE(x)\n  void A();\n'
in_class fails 'x.h:8: A has no comment' '  int b_;  // for A()\n  void A();  // for b\n'
in_class fails 'X has no comment' '  explicit X(int a) : a_(a) {}\n'
in_class fails 'X has no comment' '  X(int a, int b)\n      : a_(a),\n        b_(b) {}\n'
in_class fails 'A has no comment' '  struct Y {\n    void A();\n  };\n'
in_class fails 'A has no comment' '  // Y is.\n  struct Y {\n    int b;\n  };\n  void A();\n'
in_class fails 'A has no comment' \
  '  // Y is.\n  class Y {\n   public:\n    Y() = default;\n\n   private:\n    int A() const;\n  };\n'
expect fails 'A has no comment' \
  '// X is.\ntemplate <typename T>\nclass X final : public Y,\n                public Z<T()> {\n  void A();\n};\n'
expect fails 'B has no comment' \
  '// X is.\nclass X {\n};\n\n// Y is.\nstruct Y {\n  void B();\n};\n'
if "${check}" x.cc >/dev/null 2>&1; then
  echo 'it passes without a header' >&2
  failed=1
fi
exit "${failed}"
