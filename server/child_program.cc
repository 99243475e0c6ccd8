#include "brood/server/child_program.h"

#include "brood/server/handle_connection.h"

namespace brood::server {

absl::optional<int> ChildProgram::Begin() const {
  if (!prepare_) return absl::nullopt;
  absl::Status prepared;
  try {
    prepared = prepare_();
  } catch (...) {
    prepared = absl::InternalError("it threw an exception");
  }
  if (prepared.ok()) return absl::nullopt;
  log_->NotPrepared(prepared);
  return static_cast<int>(ExitCode::kSystemRefused);
}

int ChildProgram::Serve(net::Connection& connection) const {
  log_->Handling(connection.peer());
  return static_cast<int>(HandleConnection(connection, max_size_, handler_));
}

int ChildProgram::BeginAndServe(net::Connection& connection) const {
  if (const absl::optional<int> failed = Begin()) return *failed;
  return Serve(connection);
}

}  // namespace brood::server
