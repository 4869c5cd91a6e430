"""Starts the demo: loads it, which takes most of a second, so that Ctrl-C ends it at any time."""

import sys

from infernet_router.signals import ending_at_once


def main(arguments: list[str]) -> None:
    """Run the demo until `q` or Ctrl-C, or for some seconds with --once."""
    with ending_at_once():
        try:
            from infernet_router.demo.program import run
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "rich":
                raise
            raise SystemExit("the demo needs rich: pip install 'infernet-router[demo]'") from None
    run(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
