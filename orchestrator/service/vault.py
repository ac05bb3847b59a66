"""Secrets at rest: encrypted with the master key, which is never in the database.

The database holds one value encrypted with it, so that a server started with another key refuses at once instead of
failing at its first call.
"""

import base64
import hashlib
import hmac
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app_sdk.protocol.signing import Signer
from orchestrator.domain.errors import WrongMasterKey
from orchestrator.store import workspace_rows
from orchestrator.store.transaction import Transaction

_CHECK = "master_key_check"
_NONCE_BYTES = 12


class Vault:
    """Encrypts and decrypts with AES-256-GCM. The key is any text; `new_master_key` makes 32 random bytes in base64."""

    def __init__(self, master_key: str) -> None:
        self._root = hashlib.sha256(master_key.encode()).digest()
        self._cipher = AESGCM(self._root)
        self.open = lru_cache(maxsize=1024)(self._open)
        self.signer = lru_cache(maxsize=1024)(self._signer)

    @staticmethod
    def new_master_key() -> str:
        return base64.urlsafe_b64encode(os.urandom(32)).decode()

    def derived_key(self, purpose: str) -> bytes:
        """A key of 32 bytes for another purpose than to seal: the same wherever the master key is."""
        return hmac.digest(self._root, f"derived key: {purpose}".encode(), "sha256")

    def seal(self, secret: str) -> str:
        """The secret as the database may hold it."""
        nonce = os.urandom(_NONCE_BYTES)
        return "v1." + base64.b64encode(nonce + self._cipher.encrypt(nonce, secret.encode(), None)).decode()

    def _open(self, sealed: str) -> str:
        """The secret again; raises WrongMasterKey if it was sealed with another key."""
        raw = base64.b64decode(sealed.removeprefix("v1."))
        try:
            return self._cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], None).decode()
        except InvalidTag as error:
            raise WrongMasterKey("this is not the master key that the database's secrets were sealed with") from error

    def _signer(self, sealed: str) -> Signer:
        """Who signs with the secret; raises as `open`."""
        return Signer(self.open(sealed))


def check_master_key(tx: Transaction, vault: Vault) -> None:
    """Remember the key at the first start, compare it at every later one; raises WrongMasterKey."""
    if not prove_master_key(tx, vault):
        workspace_rows.add_setting(tx, _CHECK, vault.seal(_CHECK))


def prove_master_key(tx: Transaction, vault: Vault) -> bool:
    """Compare the key, and remember nothing; raises WrongMasterKey.

    False if the database was never served: it takes any.
    """
    known = workspace_rows.setting(tx, _CHECK)
    if known is None:
        return False
    vault.open(known)
    return True
