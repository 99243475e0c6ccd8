# SPDX-License-Identifier: Apache-2.0
"""The dependencies of Brood, for a WORKSPACE: its own, and that of an embedder."""

load("@bazel_tools//tools/build_defs/repo:utils.bzl", "maybe")

# The variable with which tools/bazel passes the directory of Debian's repositories.
_DEBIAN = "BROOD_DEBIAN"

def _archive_impl(ctx):
    debian = ctx.os.environ.get(_DEBIAN)
    if debian:
        for entry in ctx.path("%s/%s" % (debian, ctx.name)).readdir():
            ctx.symlink(entry, entry.basename)
    elif ctx.attr.urls:
        ctx.download_and_extract(
            sha256 = ctx.attr.sha256,
            stripPrefix = ctx.attr.strip_prefix,
            url = ctx.attr.urls,
        )
    else:
        fail(("%s: this Bazel has no version, and is treated as Debian's. " % ctx.name) +
             "Call Brood's tools/bazel, or declare %s before brood_dependencies()." % ctx.name)
    if not ctx.path("WORKSPACE").exists:
        ctx.file("WORKSPACE", "workspace(name = \"%s\")\n" % ctx.name)

# A repository that is an archive or, under tools/bazel on Debian 12, a package of Debian.
# It is a rule because --override_repository would also replace a repository that a
# WORKSPACE declares itself.
_archive = repository_rule(
    implementation = _archive_impl,
    attrs = {
        "sha256": attr.string(),
        "strip_prefix": attr.string(),
        "urls": attr.string_list(),
    },
    environ = [_DEBIAN],
)

# The repositories that a released Bazel contains, and that Debian has as separate
# packages.
_OF_BAZEL = [
    "platforms",
    "rules_cc",
    "rules_java",
]

def brood_dependencies():
    """Declares the dependencies of Brood, pinned, unless they are declared already.

    So a WORKSPACE that declares its own abseil keeps it. A Bazel without modules
    fetches these archives: up to 6, or 7 and 8 with --noenable_bzlmod
    --enable_workspace. Other versions use MODULE.bazel, and on Debian 12 tools/bazel
    makes Bazel 4 use the Debian source packages instead.

    Brood compiles with any abseil from 20220623 to 20260526. This one is the
    newest that needs no rules beyond those inside Bazel 7, so that nothing else
    is pinned.
    """
    maybe(
        _archive,
        name = "com_google_absl",
        sha256 = "40cee67604060a7c8794d931538cb55f4d444073e556980c88b6c49bb9b19bb7",
        strip_prefix = "abseil-cpp-20240722.1",
        urls = ["https://github.com/abseil/abseil-cpp/releases/download/20240722.1/abseil-cpp-20240722.1.tar.gz"],
    )
    maybe(
        _archive,
        name = "com_google_googletest",
        sha256 = "7b42b4d6ed48810c5362c265a17faebe90dc2373c885e5216439d37927f02926",
        strip_prefix = "googletest-1.15.2",
        urls = ["https://github.com/google/googletest/releases/download/v1.15.2/googletest-1.15.2.tar.gz"],
    )
    maybe(
        _archive,
        name = "com_github_gflags_gflags",
        sha256 = "34af2f15cf7367513b352bdcd2493ab14ce43692d2dcd9dfc499492966c64dcf",
        strip_prefix = "gflags-2.2.2",
        urls = ["https://github.com/gflags/gflags/archive/refs/tags/v2.2.2.tar.gz"],
    )

    # Only a released Bazel has a version.
    if not native.bazel_version:
        for name in _OF_BAZEL:
            maybe(_archive, name = name)

    # Only abseil depends on it.
    maybe(
        _archive,
        name = "bazel_skylib",
        sha256 = "bc283cdfcd526a52c3201279cda4bc298652efa898b10b4db0837dc51652756f",
        urls = [
            "https://mirror.bazel.build/github.com/bazelbuild/bazel-skylib/releases/download/1.7.1/bazel-skylib-1.7.1.tar.gz",
            "https://github.com/bazelbuild/bazel-skylib/releases/download/1.7.1/bazel-skylib-1.7.1.tar.gz",
        ],
    )

    # Only the tests of Brood depend on it.
    maybe(
        _archive,
        name = "rules_shell",
        sha256 = "bc61ef94facc78e20a645726f64756e5e285a045037c7a61f65af2941f4c25e1",
        strip_prefix = "rules_shell-0.4.1",
        urls = ["https://github.com/bazelbuild/rules_shell/releases/download/v0.4.1/rules_shell-v0.4.1.tar.gz"],
    )
