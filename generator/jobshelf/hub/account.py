"""Who calls, and what they may do."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from jobshelf.hub.refusal import Refusal, forbidden, login_needed, not_authenticated

Role = Literal["read", "write", "fineGrained"]
OrgRole = Literal["read", "contributor", "write", "admin"]
Right = Literal["repo.content.read", "repo.write", "discussion.write", "job.write", "user.webhooks.write"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a fine-grained token may do with one thing.

    `entity` is `user/NAME`, `org/NAME` (and all that is theirs), or one repo: `dataset/NAMESPACE/NAME`, `model/..`,
    `space/..`, `bucket/..`. Permissions have the Hub's names: `repo.content.read`, `repo.write`, `job.write` ...
    """

    entity: str
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One token of one user.

    `role` is the token's: a `read` token sees what the user sees and changes nothing; a `fineGrained` one may do what its
    `scopes` say, and everywhere what `permissions` say (`discussion.write`). `orgs` are the organisations that the user
    belongs to, `org_roles` their roles in them (`write` where nothing is said). A user who `can_pay` not runs no Job in
    their own name.
    """

    name: str
    token: str = field(repr=False)
    role: Role = "write"
    orgs: tuple[str, ...] = ()
    org_roles: Mapping[str, OrgRole] = field(default_factory=dict)
    scopes: tuple[Scope, ...] = ()
    permissions: tuple[str, ...] = ()
    can_pay: bool = True

    @property
    def namespaces(self) -> tuple[str, ...]:
        """The names under which this user may own things."""
        return (self.name, *self.orgs)

    def role_in(self, namespace: str) -> OrgRole | None:
        """The user's role in a namespace, `admin` in their own; None for a stranger."""
        if namespace == self.name:
            return "admin"
        return self.org_roles.get(namespace, "write") if namespace in self.orgs else None

    def holds(self, right: Right, *, namespace: str, entity: str | None) -> bool:
        """Whether the token, whoever's it is, goes as far as `right` on an entity (or on all of a namespace)."""
        if self.role == "write":
            return True
        if self.role == "read":
            return right == "repo.content.read"
        covering = {f"user/{namespace}", f"org/{namespace}", entity}
        granted = {name for scope in self.scopes if scope.entity in covering for name in scope.permissions}
        implied = {"repo.content.read"} if "repo.write" in granted else set()
        return right in granted | implied | set(self.permissions)


class Accounts:
    """The tokens that this Hub knows; kept in memory only."""

    def __init__(self, accounts: Sequence[Account]) -> None:
        self._lock = threading.Lock()
        self._by_token = {account.token: account for account in accounts}
        self._expires: dict[str, float] = {}

    def admit(self, account: Account, *, seconds: float) -> None:
        """Add a token for a limited time."""
        with self._lock:
            self._by_token = {**self._by_token, account.token: account}
            self._expires[account.token] = time.monotonic() + seconds

    def identify(self, authorization: str | None) -> Account | None:
        """Return the account behind an `Authorization` header; None when there is no header.

        Raises Refusal (401) for a header that is not `Bearer <a known token>`.
        """
        if authorization is None:
            return None
        scheme, _, token = authorization.partition(" ")
        account = self._by_token.get(token.strip())
        if scheme.lower() != "bearer" or account is None or self._is_over(account):
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

    def by_name(self, name: str) -> Account | None:
        """A user's account as the Hub acts for them by itself: with a token that may write, if they have one."""
        own = [account for account in self._by_token.values() if account.name == name]
        return max(own, key=lambda account: account.role == "write", default=None)

    def is_user(self, name: str) -> bool:
        """Whether somebody here has that name."""
        return any(name == account.name for account in self._by_token.values())

    def members(self, organisation: str) -> dict[str, OrgRole]:
        """The users of an organisation with their roles, by name."""
        found = {account.name: account.role_in(organisation) for account in self._by_token.values()}
        return {name: role for name, role in sorted(found.items()) if role is not None and name != organisation}

    def _is_over(self, account: Account) -> bool:
        return self._expires.get(account.token, float("inf")) < time.monotonic()


def require_account(caller: Account | None) -> Account:
    """Return the caller. Raises Refusal (401) when anonymous."""
    if caller is None:
        raise login_needed()
    return caller


def can_read(caller: Account | None, *, namespace: str, private: bool, entity: str | None = None) -> bool:
    """Whether the caller sees something in `namespace`."""
    if not private:
        return True
    return caller is not None and is_insider(caller, namespace=namespace, entity=entity)


def is_insider(caller: Account, *, namespace: str, entity: str | None = None) -> bool:
    """Whether something belongs to the caller or an organisation of theirs, and the token may read it."""
    known = caller.role_in(namespace) is not None
    return known and caller.holds("repo.content.read", namespace=namespace, entity=entity)


def require_write(
    caller: Account | None,
    *,
    namespace: str,
    action: str,
    right: Right = "repo.write",
    entity: str | None = None,
    creator: str | None = None,
) -> Account:
    """Return the caller if they may change things in `namespace`, or the one thing `entity` that `creator` made.

    Raises Refusal: 401 when anonymous, 403 when the token does not go that far, the namespace belongs to somebody else, or
    the caller's role in it is too low (a contributor creates things and changes their own).
    """
    account = require_token(caller, namespace=namespace, action=action, right=right, entity=entity)
    role = account.role_in(namespace)
    if role is None:
        raise forbidden(f'You don\'t have the rights to {action} under the namespace "{namespace}"')
    if role == "read" or (role == "contributor" and creator not in (None, account.name)):
        raise forbidden(f"Your role '{role}' in the organisation '{namespace}' does not let you {action}")
    return account


def require_token(
    caller: Account | None, *, namespace: str, action: str, right: Right, entity: str | None = None
) -> Account:
    """Return the caller if their token goes as far as `right`. Raises Refusal (401, 403)."""
    if caller is None and entity is not None:
        raise not_authenticated()
    account = require_account(caller)
    if account.holds(right, namespace=namespace, entity=entity):
        return account
    if account.role == "read":
        raise forbidden(f"This token is read-only: it cannot {action}. Use a token with the role 'write'")
    raise forbidden(f"This fine-grained token cannot {action}: it lacks '{right}' on {entity or namespace}")
