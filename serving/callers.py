"""Callers: who may ask the door for what. Tokens are made and checked here, pure of files and gRPC.

A token is `vit_ID_SECRET`. Only the SHA-256 of the secret is kept: it holds 256 random bits, so
nobody can guess it from its digest, and a slow hash would only slow the calls.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shop.errors import Forbidden, Unauthenticated


class Scope(StrEnum):
    """What a caller may do."""

    SHOP = "shop"  # ask for lists, log events
    MERCHANDISER = "merchandiser"  # prices, and what else decides what is shown
    OPERATOR = "operator"  # everything


# By method of the door. What is not named here needs an operator.
SCOPE_OF_METHOD: Mapping[str, Scope] = {
    "/vitrine.v1.Recommendations/Recommend": Scope.SHOP,
    "/vitrine.v1.Recommendations/RecommendMany": Scope.SHOP,
    "/vitrine.v1.Recommendations/Rerank": Scope.SHOP,
    "/vitrine.v1.Recommendations/LogEvents": Scope.SHOP,
    "/vitrine.v1.Recommendations/Ask": Scope.SHOP,
    "/vitrine.v1.Recommendations/SuggestPrice": Scope.MERCHANDISER,
    "/vitrine.v1.Descriptions/GetDescription": Scope.SHOP,
    "/vitrine.v1.Descriptions/GenerateDescription": Scope.MERCHANDISER,
    "/vitrine.v1.Descriptions/GetPhoto": Scope.SHOP,
    "/vitrine.v1.Descriptions/SubmitPage": Scope.MERCHANDISER,
    "/vitrine.v1.Descriptions/ListReviews": Scope.MERCHANDISER,
    "/vitrine.v1.Descriptions/Approve": Scope.MERCHANDISER,
    "/vitrine.v1.Descriptions/Edit": Scope.MERCHANDISER,
    "/vitrine.v1.Descriptions/Reject": Scope.MERCHANDISER,
    "/vitrine.v1.Descriptions/ListVersions": Scope.MERCHANDISER,
    "/vitrine.v1.Descriptions/Rollback": Scope.MERCHANDISER,
}

# Of those that need more than a shop's scope: what only looks. The audit log says who did what.
READS = frozenset({"/vitrine.v1.Descriptions/ListReviews", "/vitrine.v1.Descriptions/ListVersions"})

_TOKEN = re.compile(r"vit_([0-9a-f]{12})_([0-9a-f]{64})", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}", re.ASCII)
_BEARER = "Bearer "
_NO_DIGEST = bytes(32)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody with a token, as it is kept: without the secret."""

    id: str  # public, 12 hexadecimal digits
    name: str  # as people know them; what the audit log says
    scopes: frozenset[Scope]
    digest: bytes  # SHA-256 of the secret
    created_ms: int
    calls_per_s: float | None = None  # None: as the settings say

    def may(self, scope: Scope) -> bool:
        """Whether a token of this caller is good for what needs `scope`."""
        return scope in self.scopes or Scope.OPERATOR in self.scopes


def is_name(text: str) -> bool:
    """Whether a caller can be called so."""
    return _NAME.fullmatch(text) is not None


def new_caller(
    name: str, scopes: frozenset[Scope], *, now_ms: int, calls_per_s: float | None = None
) -> tuple[Caller, str]:
    """A caller and its token, which is nowhere else. Raises ValueError if that is no caller."""
    if not is_name(name):
        raise ValueError(f"{name!r} is no name: 1 to 40 letters, digits, dots, dashes")
    if not scopes:
        raise ValueError("a caller needs a scope")
    if calls_per_s is not None and not 0 < calls_per_s <= 1e6:
        raise ValueError(f"{calls_per_s} calls a second: must be above 0, at most 1,000,000")
    identifier, secret = secrets.token_hex(6), secrets.token_hex(32)
    caller = Caller(identifier, name, scopes, _digest(secret), now_ms, calls_per_s)
    return caller, f"vit_{identifier}_{secret}"


def is_token(text: str) -> bool:
    """Whether this looks like one of our tokens."""
    return _TOKEN.fullmatch(text) is not None


class Callers:
    """All who have a token. Immutable: another file, another object."""

    def __init__(self, callers: Mapping[str, Caller]) -> None:
        self._by_id = callers

    def __len__(self) -> int:
        return len(self._by_id)

    def who(self, authorization: str | None) -> Caller:
        """Whose token this header holds. Raises Unauthenticated, which does not say what failed.

        Takes as long for a known id with a wrong secret as for an unknown id.
        """
        if not authorization:
            raise Unauthenticated("a token is needed: metadata authorization: Bearer TOKEN")
        found = _TOKEN.fullmatch(authorization, len(_BEARER))
        if found is None or not authorization.startswith(_BEARER):
            raise Unauthenticated("the token is not valid")
        caller = self._by_id.get(found[1])
        kept = _NO_DIGEST if caller is None else caller.digest
        if not hmac.compare_digest(_digest(found[2]), kept) or caller is None:
            raise Unauthenticated("the token is not valid")
        return caller

    def allow(self, authorization: str | None, method: str) -> Caller:
        """Who calls. Raises Unauthenticated, or Forbidden if their token is not for `method`."""
        caller = self.who(authorization)
        scope = SCOPE_OF_METHOD.get(method, Scope.OPERATOR)
        if not caller.may(scope):
            raise Forbidden(f"the token of {caller.name} is not for this; it needs {scope}")
        return caller


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
