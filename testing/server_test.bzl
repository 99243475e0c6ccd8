# SPDX-License-Identifier: Apache-2.0
"""How tests of whole servers are declared."""

load("@rules_cc//cc:defs.bzl", "cc_test")

# The number of rows in strategies.cc.
STRATEGIES = 5

# What nearly every test of a whole server includes.
_USUAL_DEPS = [
    "//net:connection",
    "//net:endpoint",
    "//net:instant",
    "//net:io",
    "//net:listener",
    "//net:socket",
    "//proc:exit_status",
    "//server:connection_report",
    "//server:echo_handler",
    "//server:handler",
    "//server:options",
    "//server:tcp_server",
    "//server:totals",
    "//testing:kit",
    "//testing/internal:proc_files",
    "//testing/support:handlers",
    "//testing/support:observe",
    "//testing/support:quiet_setup",
    "//testing/support:shared",
    "@com_google_absl//absl/base:config",
    "@com_google_absl//absl/status",
    "@com_google_absl//absl/status:statusor",
    "@com_google_absl//absl/strings",
    "@com_google_absl//absl/strings:str_format",
    "@com_google_absl//absl/time",
    "@com_google_absl//absl/types:optional",
    "@com_google_absl//absl/types:span",
    "@com_google_googletest//:gtest_main",
]

def server_test(name, srcs = None, per_strategy = False, size = "small", deps = [], **kwargs):
    """A cc_test of whole servers, with the usual dependencies.

    Args:
      name: the name of the test.
      srcs: the sources; NAME.cc by default.
      per_strategy: whether the tests run once for each strategy, in as many
        shards as there are strategies.
      size: as in cc_test.
      deps: what the sources include beyond _USUAL_DEPS.
      **kwargs: other attributes of cc_test.
    """
    if per_strategy:
        kwargs["shard_count"] = STRATEGIES
    cc_test(
        name = name,
        size = size,
        srcs = srcs or [name + ".cc"],
        deps = _USUAL_DEPS + deps,
        **kwargs
    )
