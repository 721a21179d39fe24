"""Who may ask the live page's server: whoever knows its token, by its own address.

The token is random and stands in the address that the command prints. The ``Host`` header must be the
server's own, so that no name of another site that points here is served (DNS rebinding). What changes
something must come from the page itself. Nothing is allowed to other sites: no CORS header is ever sent.
"""

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

HERE = "127.0.0.1"


@dataclass(frozen=True)
class Door:
    """What lets somebody in.

    Attributes:
        port: Where the server listens.
        token: What the address must hold.
    """

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def address(self) -> str:
        """The address to open."""
        return f"http://{HERE}:{self.port}/?token={self.token}"

    @property
    def _hosts(self) -> tuple[str, ...]:
        return f"{HERE}:{self.port}", f"localhost:{self.port}"

    def lets_in(self, target: str, headers: Mapping[str, str], changes: bool) -> bool:
        """Return whether a request is answered.

        Args:
            target: What is asked for, with the token.
            headers: The request's, by their names in any case.
            changes: Whether it would change something.
        """
        given = {name.lower(): value for name, value in headers.items()}
        if given.get("host", "").lower() not in self._hosts:
            return False
        said = parse_qs(urlsplit(target).query).get("token", [""])
        if len(said) != 1 or not hmac.compare_digest(said[0].encode(), self.token.encode()):
            return False
        return not changes or self._from_itself(given)

    def _from_itself(self, given: Mapping[str, str]) -> bool:
        own = {f"http://{host}" for host in self._hosts}
        return given.get("origin") in own and given.get("sec-fetch-site", "same-origin") == "same-origin"
