#include "brood/server/readiness.h"

#include "absl/strings/str_cat.h"
#include "brood/server/log/line_writer.h"

namespace brood::server {

void AnnounceReadiness(const std::vector<net::Endpoint>& endpoints, int fd) {
  LineWriter out(fd);
  for (const net::Endpoint& endpoint : endpoints) {
    out.Write(absl::StrCat("listening ", endpoint.ToString(), "\n"));
  }
}

}  // namespace brood::server
