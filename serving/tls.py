"""TLS: the door's certificates, checked before anything starts, and as gRPC takes them."""

import dataclasses
import logging
import ssl
import time
from pathlib import Path

import grpc

from serving.adapters.token_files import seen
from serving.settings import DoorSettings
from shop.errors import SettingsRejected

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0  # three stats; a handshake takes a hundred times as long


def with_absolute_files(door: DoorSettings) -> DoorSettings:
    """The same files, named from wherever a replica runs."""
    return dataclasses.replace(
        door,
        tls_certificate=_absolute(door.tls_certificate),
        tls_key=_absolute(door.tls_key),
        tls_client_ca=_absolute(door.tls_client_ca),
    )


def _absolute(file: str) -> str:
    return str(Path(file).absolute()) if file else ""


def check_certificates(door: DoorSettings) -> None:
    """Raises SettingsRejected, naming the setting, if the door could not speak TLS as it should.

    gRPC itself would only log it, and refuse every client.
    """
    if not door.speaks_tls:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A key with a passphrase is refused; without this, Python would ask for it here.
        context.load_cert_chain(door.tls_certificate, door.tls_key, password="")
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingsRejected(
            f"door.tls_certificate = {door.tls_certificate!r}, door.tls_key = {door.tls_key!r}:"
            f" must be PEM files that belong together, the key without passphrase ({error})"
        ) from error
    try:
        if door.tls_client_ca:
            context.load_verify_locations(door.tls_client_ca)
    except (OSError, ValueError) as error:
        raise SettingsRejected(
            f"door.tls_client_ca = {door.tls_client_ca!r}: must be a PEM file ({error})"
        ) from error


def server_credentials(
    door: DoorSettings, *, look_every_s: float = _LOOK_EVERY_S
) -> grpc.ServerCredentials | None:
    """None: the door speaks plainly. Raises OSError if a file is gone.

    Files that were replaced hold for every connection made from then on; those that do not fit
    together are logged, and the ones before stay. Whoever holds these credentials keeps the object:
    gRPC itself does not.
    """
    if not door.speaks_tls:
        return None
    files = _CertificateFiles(door, look_every_s)
    return grpc.dynamic_ssl_server_credentials(
        files.read(),
        files.changed,  # type: ignore[arg-type]  # None is allowed, its stubs do not know it
        require_client_authentication=bool(door.tls_client_ca),
    )


class _CertificateFiles:
    """Asked by gRPC at every handshake, in threads of its own."""

    def __init__(self, door: DoorSettings, look_every_s: float) -> None:
        self._door = door
        self._look_every_s = look_every_s
        self._looked_s = -look_every_s
        self._seen = self._look()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """What lies there now. Raises OSError."""
        door = self._door
        pair = (Path(door.tls_key).read_bytes(), Path(door.tls_certificate).read_bytes())
        ca = Path(door.tls_client_ca).read_bytes() if door.tls_client_ca else None
        return grpc.ssl_server_certificate_configuration([pair], ca)

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """The new files, if there are some and they can be used; None: what was used before."""
        now_s = time.monotonic()
        if now_s - self._looked_s < self._look_every_s:
            return None
        self._looked_s = now_s
        seen = self._look()
        if seen == self._seen:
            return None
        self._seen = seen
        try:
            check_certificates(self._door)
            found = self.read()
        except (SettingsRejected, OSError) as error:
            logger.error("the certificates before stay: %s", error)
            return None
        logger.info("certificates were replaced")
        return found

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        door = self._door
        names = (door.tls_certificate, door.tls_key, door.tls_client_ca)
        return tuple(seen(Path(name)) for name in names if name)
