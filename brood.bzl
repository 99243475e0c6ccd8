"""How libraries and fuzz tests of this tree are declared."""

load("@rules_cc//cc:defs.bzl", "cc_library", "cc_test")

# The packages whose sources ship in a server: each has brood_source_lists().
SHIPPED_PACKAGES = [
    "net",
    "proc",
    "proc/memory",
    "server",
    "server/admission",
    "server/child",
    "server/command_line",
    "server/control",
    "server/deadlines",
    "server/listening",
    "server/log",
    "server/status",
    "server/strategy",
    "server/supervisor",
    "server/upgrade",
]

# Warnings that an embedder may have on. -Wpedantic is told what is not ours only by
# Bazel 5 and later (see .bazelrc); this function came with Bazel 6.
_STRICT = ["-Wall", "-Wextra", "-Wshadow"] + (
    ["-Wpedantic"] if hasattr(native, "package_relative_label") else []
)

def brood_library(name, hdrs, deps = [], **kwargs):
    """A cc_library whose headers are included as "brood/PACKAGE/x.h".

    An embedder's tree may well have a net/listener.h or a server/options.h of
    its own; with the prefix the two can never be taken for one another.

    Each header is also compiled alone, twice in a row, and with the warnings of a
    strict embedder: NAME_alone is built with //... and by nobody else.

    Args:
      name: the target's name, which is the header's.
      hdrs: its headers, files of this package.
      deps: what headers and sources include.
      **kwargs: what else a cc_library takes.
    """
    cc_library(
        name = name,
        hdrs = hdrs,
        include_prefix = "brood/" + native.package_name(),
        strip_include_prefix = "/" + native.package_name(),
        deps = deps,
        **kwargs
    )
    alone = name + "_alone"
    for header in hdrs:
        include = '#include "brood/%s/%s"' % (native.package_name(), header)
        native.genrule(
            name = "%s_%s" % (alone, header),
            testonly = True,
            outs = ["%s/%s.cc" % (alone, header)],
            cmd = "for i in 1 2; do echo '%s'; done >$@" % include,
            visibility = ["//visibility:private"],
        )
    cc_library(
        name = alone,
        testonly = True,
        srcs = ["%s/%s.cc" % (alone, header) for header in hdrs],
        copts = _STRICT + ["-Werror"],
        linkstatic = True,
        visibility = ["//visibility:private"],
        deps = [":" + name],
    )

def brood_fuzz_test(name, srcs, corpus, deps, **kwargs):
    """A test of what holds for every input, and a fuzzer that looks for the exception.

    The sources define LLVMFuzzerTestOneInput. Ordinarily this is a test that gives it
    each file of the corpus. With --config=fuzz (tools/lane fuzz) it is a libFuzzer
    program that begins with these files, and goes on for as long as its arguments say:

        tools/lane fuzz -- test //net:endpoint_fuzz_test --test_arg=-max_total_time=60

    An input that it finds is printed in base64: put it into the corpus, as a file
    named regression_..., and mend the code.

    Args:
      name: the test's name.
      srcs: its sources.
      corpus: files, at least one.
      deps: what the sources include.
      **kwargs: what else a cc_test takes.
    """
    fuzzing = str(Label("//:fuzzing"))
    files = ["$(rootpath %s)" % file for file in corpus]
    cc_test(
        name = name,
        size = "small",
        srcs = srcs,
        args = select({
            fuzzing: ["-seed_inputs=" + ",".join(files)],
            "//conditions:default": files,
        }),
        data = corpus,
        linkopts = select({
            fuzzing: ["-fsanitize=fuzzer"],
            "//conditions:default": [],
        }),
        tags = ["fuzz"],
        deps = deps + select({
            fuzzing: [],
            "//conditions:default": [str(Label("//testing/fuzz:replay_main"))],
        }),
        **kwargs
    )

def brood_source_lists(name, not_linked = []):
    """The sources of a package, for the tests that look at each of them.

    By glob, for none must be forgotten. NAME is what //testing/rules reads;
    linked_NAME is what a server is made of, and //testing knows that it has
    looked at each.

    Args:
      name: "sources", where the tests look for it.
      not_linked: sources that are no part of a server.
    """
    native.filegroup(
        name = name,
        srcs = native.glob(["*.cc", "*.h"]),
        visibility = ["//testing/rules:__pkg__"],
    )
    native.filegroup(
        name = "linked_" + name,
        testonly = True,
        srcs = native.glob(["*.cc"], exclude = ["*_test.cc"] + not_linked),
        visibility = ["//testing/syscalls:__pkg__"],
    )
