"""The twistd plugin: `twistd infernet-router`."""

from typing import Any

from twisted.application.service import ServiceMaker

from infernet_router.signals import prepare_signals


class _Maker(ServiceMaker):
    @property
    def options(self) -> Any:
        """The class of the options; twistd asks for it first, and that loads the router."""
        prepare_signals()
        return super().options


infernet_router = _Maker(
    "Infernet Router",
    "infernet_router.tap",
    "Tell clients which Infernet node to send a job to.",
    "infernet-router",
)
