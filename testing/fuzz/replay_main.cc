// SPDX-License-Identifier: Apache-2.0

// The main function of a fuzz test where there is no fuzzer: gives each file
// of the corpus to the fuzzer's one function, once. What it has to say against
// an input it says by ending the process, as under libFuzzer.
//
//   endpoint_fuzz_test FILE...
//
// Exit codes: 0 after the last file, 100 if there was none, 111 if one cannot
// be read.

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size);

int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: " << argv[0] << " FILE...\n";
    return 100;
  }
  for (int i = 1; i < argc; ++i) {
    std::cout << "replaying " << argv[i] << std::endl;
    std::ifstream file(argv[i], std::ios::binary);
    const std::string input((std::istreambuf_iterator<char>(file)),
                            std::istreambuf_iterator<char>());
    if (!file.is_open() || file.bad()) {
      std::cerr << "cannot read " << argv[i] << "\n";
      return 111;
    }
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()),
                           input.size());
  }
  std::cout << "replayed " << argc - 1 << " inputs" << std::endl;
  return 0;
}
