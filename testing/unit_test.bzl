# SPDX-License-Identifier: Apache-2.0
"""How unit tests beside the code are declared."""

load("@rules_cc//cc:defs.bzl", "cc_test")

# What nearly every unit test includes.
_USUAL_DEPS = [
    "//testing:leak_check",
    "//testing:status_matchers",
    "@com_google_absl//absl/status",
    "@com_google_absl//absl/status:statusor",
    "@com_google_absl//absl/strings",
    "@com_google_absl//absl/time",
    "@com_google_absl//absl/types:optional",
    "@com_google_googletest//:gtest_main",
]

def unit_test(name, deps, **kwargs):
    """A small cc_test of one source, with the usual dependencies.

    Args:
      name: the name of the test; the source is NAME.cc.
      deps: what the source includes beyond _USUAL_DEPS.
      **kwargs: other attributes of cc_test.
    """
    cc_test(
        name = name,
        size = "small",
        srcs = [name + ".cc"],
        deps = _USUAL_DEPS + deps,
        **kwargs
    )
