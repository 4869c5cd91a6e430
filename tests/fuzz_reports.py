"""
Fuzzes decode_report, guided by coverage, until it fails or is stopped.

    make fuzz ARGS=-max_total_time=300

The arguments are libFuzzer's; -help=1 lists them. `.fuzz/` keeps the inputs that reached new code,
and an input that fails.
"""

import sys
from pathlib import Path

import atheris


def main() -> None:
    with atheris.instrument_imports(include=["infernet_router", "tests.test_reports"]):
        from tests.test_reports import INFO, PATCHES, assert_sane
    cases = Path(".fuzz/cases")
    cases.mkdir(parents=True, exist_ok=True)
    (cases / "real").write_bytes(INFO)
    words = Path(".fuzz/words")
    words.write_text(
        "".join(
            '"' + "".join(f"\\x{byte:02x}" for byte in patch) + '"\n'
            for patch in PATCHES
            if len(patch) < 64
        )
    )
    flags = ["-artifact_prefix=.fuzz/", f"-dict={words}", "-max_len=4096"]
    atheris.Setup([sys.argv[0], *flags, *sys.argv[1:], str(cases)], assert_sane)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
