"""Who calls, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from jobshelf.hub.refusal import Refusal, forbidden, not_authenticated


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One token of one user.

    `role` is the token's: a `read` token sees what the user sees and changes nothing. `orgs` are the organisations the
    user belongs to, with the right to write.
    """

    name: str
    token: str = field(repr=False)
    role: Literal["read", "write"] = "write"
    orgs: tuple[str, ...] = ()

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The names under which this user may own things."""
        return (self.name, *self.orgs)


class Accounts:
    """The tokens that this Hub knows; kept in memory only."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._by_token = {account.token: account for account in accounts}

    def identify(self, authorization: str | None) -> Account | None:
        """Return the account behind an `Authorization` header; None when there is no header.

        Raises Refusal (401) for a header that is not `Bearer <a known token>`.
        """
        if authorization is None:
            return None
        scheme, _, token = authorization.partition(" ")
        account = self._by_token.get(token.strip())
        if scheme.lower() != "bearer" or account is None:
            raise Refusal(401, "Invalid credentials in Authorization header")
        return account

    def redact(self, text: str) -> str:
        """Return `text` with every known token replaced by `***`."""
        for token in self._by_token:
            text = text.replace(token, "***")
        return text

    def is_organisation(self, namespace: str) -> bool:
        """Whether `namespace` is an organisation of somebody here."""
        return any(namespace in account.orgs for account in self._by_token.values())


def require_account(caller: Account | None) -> Account:
    """Return the caller. Raises Refusal (401) when anonymous."""
    if caller is None:
        raise not_authenticated()
    return caller


def can_read(caller: Account | None, *, namespace: str, private: bool) -> bool:
    """Whether the caller sees something in `namespace`."""
    return not private or (caller is not None and namespace in caller.namespaces)


def require_write(caller: Account | None, *, namespace: str, action: str) -> Account:
    """Return the caller if they may change things in `namespace`.

    Raises Refusal: 401 when anonymous, 403 when the token is read-only or the namespace belongs to somebody else.
    """
    account = require_account(caller)
    if account.role != "write":
        raise forbidden(f"This token is read-only: it cannot {action}. Use a token with the role 'write'")
    if namespace not in account.namespaces:
        raise forbidden(f'You don\'t have the rights to {action} under the namespace "{namespace}"')
    return account
