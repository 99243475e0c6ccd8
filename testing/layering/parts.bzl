# SPDX-License-Identifier: Apache-2.0
"""The inside of server: its parts, and the edges between them.

    main, command_line > facade > supervisor
      > strategy, upgrade, process, listening, control, deadlines, status, admission
      > child > log > vocabulary > net, proc

Of what lies directly in server/, the program ("main"), the facade and the
vocabulary (with server/text, server/report and server/vocabulary) are parts;
each other sub-folder is one.
"""

load("//:brood.bzl", "SHIPPED_PACKAGES")

_BELOW_SUPERVISOR = [
    "admission",
    "child",
    "control",
    "deadlines",
    "exec",
    "listening",
    "log",
    "process",
    "status",
    "strategy",
    "upgrade",
    "vocabulary",
]

# For each part, the parts on which it may depend, directly or not. Parts on one level may
# depend on each other only as listed here.
_MAY_GO_TO = {
    "main": ["command_line", "facade", "supervisor"] + _BELOW_SUPERVISOR,
    "command_line": ["facade", "supervisor"] + _BELOW_SUPERVISOR,
    "facade": ["supervisor"] + _BELOW_SUPERVISOR,
    "supervisor": _BELOW_SUPERVISOR,
    "strategy": ["child", "exec", "log", "vocabulary"],
    "upgrade": ["control", "listening", "log", "process", "vocabulary"],
    "process": ["control", "log", "vocabulary"],
    "listening": ["log", "vocabulary"],
    "control": ["log", "vocabulary"],
    "deadlines": ["log", "status", "vocabulary"],
    "status": ["log", "vocabulary"],
    "exec": ["vocabulary"],
    "admission": ["vocabulary"],
    "child": ["log", "process", "vocabulary"],
    "log": ["vocabulary"],
    "vocabulary": [],
}

# Dependencies that must be found: without them a part would have no targets, and the
# queries would prove nothing about it.
_MUST_GO_TO = [
    ("main", "command_line"),
    ("main", "facade"),
    ("facade", "supervisor"),
    ("facade", "exec"),
    ("supervisor", "strategy"),
    ("supervisor", "upgrade"),
    ("supervisor", "listening"),
    ("supervisor", "control"),
    ("supervisor", "deadlines"),
    ("supervisor", "status"),
    ("supervisor", "admission"),
    ("strategy", "child"),
    ("upgrade", "control"),
    ("upgrade", "process"),
    ("process", "control"),
    ("listening", "log"),
    ("control", "log"),
    ("deadlines", "status"),
    ("status", "vocabulary"),
    ("child", "log"),
    ("log", "vocabulary"),
]

_MAIN = "server$"
_FACADE = "(tcp_server|exec_handler|echo_handler|readiness|socket_activation|own_command|prepare_process)" + \
          "(_implementation|_link_only|[.]h|[.]cc)?$"

def _targets_of(part, everything):
    """A query for what of `everything` lies in this part."""
    if part == "main":
        return "filter('^@*//server:%s', %s)" % (_MAIN, everything)
    if part == "facade":
        return "filter('^@*//server:%s', %s)" % (_FACADE, everything)
    if part == "vocabulary":
        return "(filter('^@*//server(/text|/report|/vocabulary)?:', {all}) - filter('^@*//server:({others})', {all}))".format(
            all = everything,
            others = _MAIN + "|" + _FACADE,
        )
    return "filter('^@*//server/%s[/:]', %s)" % (part, everything)

def server_part_queries(name, everything, scope):
    """Declares a genquery for each rule above.

    Args:
      name: what the names of the queries begin with.
      everything: a query for what the rules are about.
      scope: the targets that it names.

    Returns:
      The names of the queries that must find nothing, and of those that must
      find a path.
    """
    for package in SHIPPED_PACKAGES:
        part = package.split("/")[1] if package.startswith("server/") else "vocabulary"
        if part not in _MAY_GO_TO and part not in ["text", "report"]:
            fail("//testing/layering does not know the part " + package)
    nothing = []
    for part, may_go_to in _MAY_GO_TO.items():
        above = [
            _targets_of(other, everything)
            for other in _MAY_GO_TO
            if other != part and other not in may_go_to
        ]
        if above:
            nothing.append("%s_%s_to_above" % (name, part))
            native.genquery(
                name = nothing[-1],
                expression = "somepath(%s, %s)" % (
                    _targets_of(part, everything),
                    " + ".join(above),
                ),
                scope = scope,
            )
    path = []
    for above, below in _MUST_GO_TO:
        path.append("%s_%s_to_%s" % (name, above, below))
        native.genquery(
            name = path[-1],
            expression = "somepath(%s, %s)" % (
                _targets_of(above, everything),
                _targets_of(below, everything),
            ),
            scope = scope,
        )
    return nothing, path
