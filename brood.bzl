"""The one way to declare a library of this tree."""

load("@rules_cc//cc:defs.bzl", "cc_library")

def brood_library(name, **kwargs):
    """A cc_library whose headers are included as "brood/PACKAGE/x.h".

    An embedder's tree may well have a net/listener.h or a server/options.h of
    its own; with the prefix the two can never be taken for one another.

    Args:
      name: the target's name, which is the header's.
      **kwargs: what a cc_library takes.
    """
    cc_library(
        name = name,
        include_prefix = "brood/" + native.package_name(),
        strip_include_prefix = "/" + native.package_name(),
        **kwargs
    )
