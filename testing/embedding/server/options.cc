// SPDX-License-Identifier: Apache-2.0

#include "server/options.h"

#include "gflags/gflags.h"

DEFINE_string(listen, embedder::Options().listen, "where to listen");
DEFINE_int32(max_clients, embedder::Options().max_clients, "clients at a time");

namespace embedder {

Options OptionsFromFlags() {
  Options options;
  options.listen = FLAGS_listen;
  options.max_clients = FLAGS_max_clients;
  return options;
}

}  // namespace embedder
