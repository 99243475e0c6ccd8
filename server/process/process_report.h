// SPDX-License-Identifier: Apache-2.0

#ifndef BROOD_SERVER_PROCESS_PROCESS_REPORT_H_
#define BROOD_SERVER_PROCESS_PROCESS_REPORT_H_

#include "brood/server/log/event_log.h"
#include "brood/server/options.h"

namespace brood::server {

// Logs what PrepareProcess() has changed in this process, once, and warns of
// each limit of the process that is too low for a server with `options`. Called
// when the server is created. Changes nothing.
void ReportProcess(const Options& options, EventLog* log);

}  // namespace brood::server

#endif  // BROOD_SERVER_PROCESS_PROCESS_REPORT_H_
