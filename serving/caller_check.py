"""Caller check: whether a door may open to those who will reach it, before anything starts."""

import logging
from pathlib import Path

from serving.adapters.token_files import read_callers
from serving.settings import DoorSettings
from shop.errors import SettingsRejected

logger = logging.getLogger(__name__)


def check_callers(door: DoorSettings) -> None:
    """Raises SettingsRejected, naming the ways out, if a door that others reach knows nobody."""
    if not door.needs_tokens:
        if not door.is_local:
            logger.warning(
                "door.host = %r, door.callers = 'anyone': whoever reaches the door is answered",
                door.host,
            )
        return
    if len(read_callers(Path(door.tokens_file))) == 0:
        raise SettingsRejected(
            f"door.host = {door.host!r}: callers must show a token, and {door.tokens_file} holds"
            " none. Make one with `vitrine token create NAME --scope shop`; or set door.callers ="
            ' "anyone" if something in front of the door knows its callers; or listen on 127.0.0.1'
        )
    if not door.is_local and not door.speaks_tls:
        logger.warning(
            "door.host = %r without TLS: tokens pass the network readably unless a proxy or mesh"
            " encrypts them",
            door.host,
        )
