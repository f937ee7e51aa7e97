"""Access: who may use the console. One token opens it; a signed cookie remembers who came in.

Every form carries a token that is bound to the session, so that no other site can act here. All
secrets come from one key: whoever replaces it ends every session.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

_NONCE_BYTES = 16
_MAX_COOKIE = 1_000
_MAX_ENDED = 10_000


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that was here before; `name` is "" until it has shown the token."""

    name: str
    opened_s: int
    nonce: str

    @property
    def is_known(self) -> bool:
        """Whether somebody logged in."""
        return bool(self.name)


@dataclass(slots=True)
class Access:
    """Opens, reads and ends sessions. Sessions that were ended are remembered until they expire."""

    key: bytes
    lifetime_s: float
    now_s: Callable[[], float]
    _ended: dict[str, int] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """What people show to come in: the content of the key file."""
        return self.key.hex()

    def is_token(self, given: str) -> bool:
        """Whether this is the token; takes equally long for every wrong one."""
        digest = hashlib.sha256(given.strip().encode()).digest()
        return hmac.compare_digest(digest, hashlib.sha256(self.token.encode()).digest())

    def open(self, name: str) -> Session:
        """A new session; with the name "" one that may only log in."""
        return Session(name, int(self.now_s()), secrets.token_urlsafe(_NONCE_BYTES))

    def end(self, session: Session) -> None:
        """Its cookie is worth nothing from now on."""
        oldest_s = self.now_s() - self.lifetime_s
        if len(self._ended) >= _MAX_ENDED:
            self._ended = {n: at for n, at in self._ended.items() if at > oldest_s}
        self._ended[session.nonce] = session.opened_s

    def cookie(self, session: Session) -> str:
        """The session as its browser keeps it."""
        fields = [session.name, session.opened_s, session.nonce]
        body = base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()
        return f"{body}.{self._signed('session', body)}"

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie; None if it is not ours, too old, or was ended."""
        body, _, signature = cookie[:_MAX_COOKIE].partition(".")
        if not hmac.compare_digest(signature.encode(), self._signed("session", body).encode()):
            return None
        try:
            name, opened_s, nonce = json.loads(base64.urlsafe_b64decode(body))
        except (binascii.Error, ValueError):
            return None
        is_fresh = 0 <= self.now_s() - opened_s <= self.lifetime_s
        return Session(name, opened_s, nonce) if is_fresh and nonce not in self._ended else None

    def form_token(self, session: Session) -> str:
        """What every form of this session carries."""
        return self._signed("form", session.nonce)

    def is_form_token(self, session: Session, given: str) -> bool:
        """Whether a form came from a page that this session was shown."""
        return hmac.compare_digest(given.encode(), self.form_token(session).encode())

    def _signed(self, purpose: str, text: str) -> str:
        return hmac.new(self.key, f"{purpose}\n{text}".encode(), hashlib.sha256).hexdigest()
