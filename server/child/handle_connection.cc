// SPDX-License-Identifier: Apache-2.0

#include "brood/server/child/handle_connection.h"

#include <exception>

#include "absl/status/status.h"
#include "brood/net/io.h"
#include "brood/server/child/system_refused.h"
#include "brood/server/report/handler_report.h"

namespace brood::server {
namespace {

using OnException = absl::FunctionRef<void(absl::string_view)>;

// Calls the handler. The message of an exception is used before the exception
// is destroyed, and is not copied: there may be no memory.
ExitCode CallHandler(net::Connection& connection, const Handler& handler,
                     OnException on_exception) {
  try {
    return handler(connection);
  } catch (const SystemRefused& refused) {
    on_exception(refused.what());
    return ExitCode::kSystemRefused;
  } catch (const std::exception& exception) {
    on_exception(exception.what());
  } catch (...) {
    on_exception("an object that is no std::exception");
  }
  return ExitCode::kHandlerFailed;
}

}  // namespace

// Lingers after every code: a handler that has refused a request may have
// replied, and a reset would destroy the reply to a client that still sends.
ExitCode HandleConnection(net::Connection& connection, const Handler& handler,
                          const LingerSettings& settings,
                          OnException on_exception) {
  report_writer::HandlerCalled();
  const ExitCode code =
      CallHandler(connection, handler, [&](absl::string_view what) {
        report_writer::SetException(what);
        on_exception(what);
      });
  report_writer::HandlerReturned();
  if (settings.linger > absl::ZeroDuration()) {
    net::Linger(connection.socket(), settings.max_size, settings.linger)
        .IgnoreError();
  }
  report_writer::ConnectionClosed();
  return code;
}

}  // namespace brood::server
