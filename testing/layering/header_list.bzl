# SPDX-License-Identifier: Apache-2.0
"""Which headers what depends on a target can include."""

_CcInfo = CcInfo  # buildifier: disable=native-cc-info

def _header_list_impl(ctx):
    headers = depset(transitive = [
        dep[_CcInfo].compilation_context.headers
        for dep in ctx.attr.deps
    ])
    paths = ctx.actions.args()
    paths.add_all(headers)
    paths.set_param_file_format("multiline")
    written = ctx.actions.declare_file(ctx.label.name + ".txt")
    ctx.actions.write(written, paths)
    return [DefaultInfo(
        files = depset([written]),
        runfiles = ctx.runfiles([written], transitive_files = headers),
    )]

# Writes NAME.txt with a line for each header in the compilation context of a source that
# depends on `deps`. The headers themselves are runfiles.
header_list = rule(
    implementation = _header_list_impl,
    attrs = {"deps": attr.label_list(providers = [_CcInfo])},
)
