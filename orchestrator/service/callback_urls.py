"""Signed names of awaits: whoever was given one may call back for that await, and for no other, without a token.

The key is derived from the master key, so that every node makes and takes the same ones and nothing is stored.
"""

import base64
import hmac
from dataclasses import dataclass

from orchestrator.domain.errors import NotFound
from orchestrator.service.vault import Vault

PATH = "/external-events/callback"
_PURPOSE = "callback url"
# Of 256 bits, as many as nobody guesses.
_MAC_BYTES = 18


@dataclass(frozen=True, slots=True)
class SignedAwait:
    """An await as its signed name has it; `uid` is the execution's."""

    uid: str
    worker_id: int
    step: int


class CallbackSigner:
    """Signs and reads the names."""

    def __init__(self, vault: Vault) -> None:
        self._hmac = hmac.new(vault.derived_key(_PURPOSE), digestmod="sha256")

    def sign(self, uid: str, worker_id: int, step: int) -> str:
        """The signed name, fit for a URL."""
        name = f"{uid}.{worker_id}.{step}"
        return f"{name}.{self._mac(name)}"

    def read(self, signed: str) -> SignedAwait:
        """What a signed name says. Raises NotFound for one that is not ours."""
        name, _, mac = signed.rpartition(".")
        if not hmac.compare_digest(self._mac(name).encode(), mac.encode("utf-8", "surrogatepass")):
            raise NotFound("there is no such callback URL; use it as the payload has it")
        uid, worker_id, step = name.rsplit(".", 2)
        return SignedAwait(uid, int(worker_id), int(step))

    def _mac(self, name: str) -> str:
        mac = self._hmac.copy()
        mac.update(name.encode("utf-8", "surrogatepass"))
        return base64.urlsafe_b64encode(mac.digest()[:_MAC_BYTES]).decode()


@dataclass(frozen=True, slots=True)
class CallbackUrls:
    """The addresses that third parties are given; `api_endpoint` is where they reach the API."""

    api_endpoint: str
    signer: CallbackSigner

    def of(self, uid: str, worker_id: int, step: int) -> str:
        """Where to call back for this await; `uid` is the execution's."""
        return f"{self.api_endpoint}{PATH}/{self.signer.sign(uid, worker_id, step)}"
