"""The twistd plugin: `twistd infernet-router`."""

from twisted.application.service import ServiceMaker

infernet_router = ServiceMaker(
    "Infernet Router",
    "infernet_router.tap",
    "Tell clients which Infernet node to send a job to.",
    "infernet-router",
)
