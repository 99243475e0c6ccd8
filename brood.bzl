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
    "proc/launch",
    "proc/memory",
    "proc/namespaces",
    "proc/reaping",
    "proc/signal_state",
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

# Warnings that an embedder may have enabled. -Wpedantic ignores headers of dependencies
# only with Bazel 5 or later (see .bazelrc); this function exists since Bazel 6.
_STRICT = ["-Wall", "-Wextra", "-Wshadow"] + (
    ["-Wpedantic"] if hasattr(native, "package_relative_label") else []
)

# Symbols of Bazel 4 to 8; the rules_cc of Bazel 4 does not have them.
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

# Libraries that are linked into the targets that depend on this one, and whose headers
# cannot be included there. Visibility alone does not prevent that, because the headers of
# all transitive dependencies are available when a source is compiled. (Bazel 6 has
# implementation_deps for this; Bazel 4 does not.)
link_only = rule(
    implementation = _link_only_impl,
    attrs = {"deps": attr.label_list(providers = [_CcInfo])},
)

def brood_library(name, hdrs, srcs = [], deps = [], private_deps = [], **kwargs):
    """A cc_library whose headers are included as "brood/PACKAGE/x.h".

    The tree of an embedder may also have a net/listener.h or a server/options.h;
    the prefix keeps the two apart.

    With clang, a missing dependency is an error, also if another dependency brings
    the header. GCC cannot detect that.

    Each header is also compiled alone, twice in a row, and with the warnings of a
    strict embedder: NAME_alone is built with //... and by no other target.

    With private_deps, a target that depends on NAME cannot include their headers.
    The sources are then compiled in NAME_implementation, which NAME only links.

    Args:
      name: the name of the target, which is that of the header.
      hdrs: its headers, files of this package.
      srcs: its sources.
      deps: the libraries that the headers, and possibly the sources, include.
      private_deps: the libraries that only the sources include.
      **kwargs: other arguments of cc_library.
    """
    common = {
        # An include of a header of another target than the dependencies is an error.
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
    """A test that checks a property for each input, and a fuzzer for more inputs.

    The sources define LLVMFuzzerTestOneInput. By default this is a test that calls it
    with each file of the corpus. With --config=fuzz (tools/lane fuzz) it is a libFuzzer
    program that begins with these files, and runs as long as its arguments say:

        tools/lane fuzz -- test //net:endpoint_fuzz_test --test_arg=-max_total_time=60

    An input that it finds is printed in base64: put it into the corpus, as a file
    named regression_..., and fix the code.

    Args:
      name: the name of the test.
      srcs: its sources.
      corpus: files, at least one.
      deps: the libraries that the sources include.
      **kwargs: other arguments of cc_test.
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

    These are the files directly in its folder, and in the folder "topics", which has
    the parts of a long source.

    Args:
      name: "files", where the test looks for it.
    """
    native.filegroup(
        name = name,
        srcs = native.glob(["*", "topics/*"]),
        visibility = ["//testing/rules:__pkg__"],
    )

def brood_source_lists(name, not_linked = []):
    """The sources of a package, for the tests that check each of them.

    By glob, so that no source is forgotten. //testing/rules reads NAME. linked_NAME
    has the sources of a server, and //testing/syscalls checks that its program
    contains each of them.

    Args:
      name: "sources", where the tests look for it.
      not_linked: sources that are not part of a server.
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
