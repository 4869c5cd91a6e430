"""Keeps the orders of operators the same at all replicas, through a hash in Redis."""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from infernet_router.fleet import BadOrder, Order, Overrides, decode_order, encode_order
from infernet_router.quoting import quoted
