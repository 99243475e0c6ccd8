#include "brood/server/child_program.h"

#include "brood/proc/sync_point.h"
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
  proc::SyncPoint("child: about to serve");
  const ExitCode code = HandleConnection(connection, max_size_, handler_);
  proc::SyncPoint("child: served");
  return static_cast<int>(code);
}

int ChildProgram::BeginAndServe(net::Connection& connection) const {
  if (const absl::optional<int> failed = Begin()) return *failed;
  return Serve(connection);
}

}  // namespace brood::server
