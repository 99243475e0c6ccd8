# SPDX-License-Identifier: Apache-2.0
"""How libraries and fuzz tests of this tree are declared."""

load("@rules_cc//cc:defs.bzl", "cc_library", "cc_test")

# The packages whose sources ship in a server: each has brood_source_lists().
SHIPPED_PACKAGES = [
    "net",
    "net/unix_file",
    "proc",
    "proc/errors",
    "proc/hardening",
    "proc/memory",
    "proc/namespaces",
    "proc/reaping",
    "server",
    "server/admission",
    "server/child",
    "server/command_line",
    "server/control",
    "server/deadlines",
    "server/exec",
    "server/listening",
    "server/log",
    "server/process",
    "server/status",
    "server/strategy",
    "server/strategy/zygote",
    "server/supervisor",
    "server/text",
    "server/upgrade",
    "server/vocabulary",
]

# The packages of the kit, of the helpers and of the tests of whole servers: each has
# brood_file_list().
TESTING_PACKAGES = [
    "testing",
    "testing/accepting",
    "testing/api",
    "testing/attacks",
    "testing/children",
    "testing/endurance",
    "testing/environments",
    "testing/exec",
    "testing/fakes",
    "testing/fuzz",
    "testing/header_examples",
    "testing/internal",
    "testing/layering",
    "testing/machine",
    "testing/polyglot",
    "testing/prefork",
    "testing/program",
    "testing/recipes",
    "testing/rules",
    "testing/shutdown",
    "testing/support",
    "testing/support/network",
    "testing/support/tracing",
    "testing/syscalls",
    "testing/timeouts",
    "testing/upgrades",
]

# Warnings that an embedder may have on. -Wpedantic is told what is not ours only by
# Bazel 5 and later (see .bazelrc); this function came with Bazel 6.
_STRICT = ["-Wall", "-Wextra", "-Wshadow"] + (
    ["-Wpedantic"] if hasattr(native, "package_relative_label") else []
)

# Symbols of Bazel's own from 4 to 8; the rules_cc of Bazel 4 has none to load.
_CcInfo = CcInfo  # buildifier: disable=native-cc-info
_cc_common = cc_common  # buildifier: disable=native-cc-common

def _link_only_impl(ctx):
    runfiles = ctx.runfiles()
    for dep in ctx.attr.deps:
        runfiles = runfiles.merge(dep[DefaultInfo].default_runfiles)
    merged = _cc_common.merge_cc_infos(cc_infos = [dep[_CcInfo] for dep in ctx.attr.deps])
    return [
        DefaultInfo(
            files = depset(transitive = [dep[DefaultInfo].files for dep in ctx.attr.deps]),
            runfiles = runfiles,
        ),
        _CcInfo(linking_context = merged.linking_context),
        coverage_common.instrumented_files_info(ctx, dependency_attributes = ["deps"]),
    ]

# Libraries that are linked into what depends on this target, and whose headers cannot
# be included there: visibility alone does not prevent that, because the headers of
# all transitive dependencies are there when a source is compiled. (Bazel 6 has
# implementation_deps for this; Bazel 4 has not.)
link_only = rule(
    implementation = _link_only_impl,
    attrs = {"deps": attr.label_list(providers = [_CcInfo])},
)

def brood_library(name, hdrs, srcs = [], deps = [], private_deps = [], **kwargs):
    """A cc_library whose headers are included as "brood/PACKAGE/x.h".

    An embedder's tree may well have a net/listener.h or a server/options.h of
    its own; with the prefix the two can never be taken for one another.

    A dependency that is forgotten, because another one brings the header, is an error
    where the toolchain can tell: with clang, and not with GCC.

    Each header is also compiled alone, twice in a row, and with the warnings of a
    strict embedder: NAME_alone is built with //... and by no other target.

    With private_deps, what depends on NAME cannot include a header of theirs. The
    sources are then compiled in NAME_implementation, which NAME only links.

    Args:
      name: the target's name, which is the header's.
      hdrs: its headers, files of this package.
      srcs: its sources.
      deps: what the headers include, and the sources may.
      private_deps: what only the sources include.
      **kwargs: what else a cc_library takes.
    """
    common = {
        # An include of what is not among the dependencies is an error.
        "features": ["layering_check"],
        "include_prefix": "brood/" + native.package_name(),
        "strip_include_prefix": "/" + native.package_name(),
    }
    if private_deps:
        cc_library(
            name = name + "_implementation",
            testonly = kwargs.get("testonly"),
            srcs = srcs,
            hdrs = hdrs,
            visibility = ["//visibility:private"],
            deps = deps + private_deps,
            **common
        )
        link_only(
            name = name + "_link_only",
            testonly = kwargs.get("testonly"),
            visibility = ["//visibility:private"],
            deps = [":%s_implementation" % name],
        )
        srcs = []
        deps = deps + [":%s_link_only" % name]
    cc_library(
        name = name,
        srcs = srcs,
        hdrs = hdrs,
        deps = deps,
        **dict(kwargs, **common)
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
    named regression_..., and fix the code.

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

def brood_file_list(name):
    """The files of a package, for //testing/rules.

    Those that lie directly in its folder, and in the folder "topics", which has the
    parts of a source that is too long.

    Args:
      name: "files", where the test looks for it.
    """
    native.filegroup(
        name = name,
        srcs = native.glob(["*", "topics/*"]),
        visibility = ["//testing/rules:__pkg__"],
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
        srcs = native.glob(["*.cc", "*.h", "topics/*.cc"]),
        visibility = ["//testing/rules:__pkg__"],
    )
    native.filegroup(
        name = "linked_" + name,
        testonly = True,
        srcs = native.glob(["*.cc", "topics/*.cc"], exclude = ["*_test.cc"] + not_linked),
        visibility = ["//testing/syscalls:__pkg__"],
    )
    brood_file_list(name = "files")
