"""NoNode: the error when no node can do a job, with a stable code beside the words."""

from enum import StrEnum

from infernet_router.quoting import quoted


class Reason(StrEnum):
    """Why no node can do a job: a code for metrics, which stays the same when words change."""

    NO_NODE_KNOWN = "no_node_known"
    FIRST_POLLS = "first_polls"
    """The first polls are not back yet."""
    NONE_UP = "none_up"
    NOT_RUNNING = "not_running"
    """No up node runs one of the containers."""
    NOT_EXTERNAL = "not_external"
    """The container is not external on any up node."""
    NOT_TOGETHER = "not_together"
    """No single up node runs all containers, with one of them external."""
    MODEL = "model"
    """No candidate is known to support the model."""
    EXCLUDED = "excluded"
    DRAINED = "drained"


class NoNode(Exception):
    """
    No node can do the job; the message tells the client why.

    :param reason: the same as a code.
    """

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason


def all_excluded(asked: tuple[str, ...]) -> NoNode:
    """The error when a request excludes all candidates."""
    named = ", ".join(map(quoted, asked))
    return NoNode(f"every up node that runs {named} is excluded", Reason.EXCLUDED)
