// SPDX-License-Identifier: Apache-2.0

// The main function of a fuzz test without a fuzzer: calls the function of the
// fuzz test once for each file of the corpus. That function ends the process if
// a check fails, as under libFuzzer.
//
//   endpoint_fuzz_test FILE...
//
// Exit codes: 0 after the last file, 100 if there was no file, 111 if a file
// cannot be read.

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
