"""How libraries and fuzz tests of this tree are declared."""

load("@rules_cc//cc:defs.bzl", "cc_library", "cc_test")

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
