"""TLS: the door's certificates, checked before anything starts, and as gRPC takes them."""

import dataclasses
import ssl
from pathlib import Path

import grpc

from serving.settings import DoorSettings
from shop.errors import SettingsRejected


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


def server_credentials(door: DoorSettings) -> grpc.ServerCredentials | None:
    """None: the door speaks plainly. Raises OSError if a file is gone."""
    if not door.speaks_tls:
        return None
    ca = Path(door.tls_client_ca).read_bytes() if door.tls_client_ca else None
    pair = (Path(door.tls_key).read_bytes(), Path(door.tls_certificate).read_bytes())
    return grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)
