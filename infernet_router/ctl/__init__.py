"""The command infernet-router-ctl: reads and steers a running router."""

from infernet_router.ctl.commands import main

__all__ = ["main"]
