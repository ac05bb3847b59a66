"""HTTPS: which certificates are accepted, and what a server can do to a handshake."""

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.domain.outcome import FailureKind, NoResponse, Response
from orchestrator.engine.caller import Caller
from tests.engine.caller.servers import (
    MIB,
    OpenCaller,
    Peer,
    answering,
    eventually,
    request,
    serving,
    serving_well,
)

MakeContext = Callable[..., ssl.SSLContext]

# Python 3.13 verifies strictly: a certificate authority must say what its key is for.
SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@pytest.fixture
def certified(tmp_path: Path) -> MakeContext:
    """A server's context with a fresh self-signed certificate, also written to `tmp_path/cert.pem`."""

    def make(names: tuple[str, ...] = ("127.0.0.1",), valid_for: timedelta = timedelta(days=1)) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
        alternatives = [x509.IPAddress(ip_address(each)) if each[0].isdigit() else x509.DNSName(each) for each in names]
        now = datetime.now(UTC)
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + valid_for)
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(SIGNS, critical=True)
            .add_extension(identifier, critical=False)
            .add_extension(authority, critical=False)
            .sign(key, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(pem))
        (tmp_path / "both.pem").write_bytes(private + certificate.public_bytes(pem))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "both.pem")
        return context

    return make


@pytest.fixture
def trusting(opened: OpenCaller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Caller]:
    """Opens a caller to which the certificate in `tmp_path` is one of a certificate authority."""

    def open_one(lookup: object = None) -> Caller:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
        return opened(lookup)

    return open_one


async def failing(caller: Caller, url: str, timeout_secs: float = 5.0) -> NoResponse:
    outcome = await caller.post(request(url, timeout_secs=timeout_secs))
    assert isinstance(outcome, NoResponse), outcome
    return outcome


async def test_a_trusted_certificate(certified: MakeContext, trusting: Callable[..., Caller]) -> None:
    async with serving(serving_well(), certified()) as server:
        caller = trusting()
        for _ in range(3):
            assert await caller.post(request(server)) == Response(200, b"{}")
        assert server.connections == 1


async def test_the_certificate_must_be_for_the_name(certified: MakeContext, trusting: Callable[..., Caller]) -> None:
    async with serving(serving_well(), certified(("app.test",))) as server:
        caller = trusting(lambda host: ["127.0.0.1"])
        named = server.url.replace("127.0.0.1", "app.test.")
        assert await caller.post(request(named)) == Response(200, b"{}")
        outcome = await failing(caller, server.url.replace("127.0.0.1", "other.test"))

    assert (outcome.kind, outcome.sent) == (FailureKind.TLS, False)
    assert "its certificate is not accepted, Hostname mismatch" in outcome.message


async def test_an_expired_certificate(certified: MakeContext, trusting: Callable[..., Caller]) -> None:
    async with serving(serving_well(), certified(valid_for=timedelta(days=-1))) as server:
        outcome = await failing(trusting(), server.url)

    assert (outcome.kind, outcome.sent) == (FailureKind.TLS, False)
    assert "certificate has expired" in outcome.message


async def test_a_self_signed_certificate_only_where_asked(certified: MakeContext, caller: Caller) -> None:
    async with serving(serving_well(), certified()) as server:
        assert await caller.post(request(server, verify_tls=False)) == Response(200, b"{}")
        # The connection is still open; it must not serve a call that asks for verification.
        outcome = await failing(caller, server.url)
        assert await caller.post(request(server, verify_tls=False)) == Response(200, b"{}")

    assert (outcome.kind, outcome.sent) == (FailureKind.TLS, False)
    assert "self-signed certificate" in outcome.message


async def test_a_server_without_tls(caller: Caller) -> None:
    async def plain(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 This is a plain HTTP port\r\n\r\n")
        await peer.hang()

    async with serving(plain) as server:
        outcome = await failing(caller, server.url.replace("http:", "https:"))

    assert (outcome.kind, outcome.sent) == (FailureKind.TLS, False)
    assert outcome.message.endswith("it does not speak TLS on this port")


async def test_a_handshake_that_is_cut_off(caller: Caller) -> None:
    async def closing(peer: Peer) -> None:
        await peer.reader.read(1)

    async with serving(closing) as server:
        outcome = await failing(caller, server.url.replace("http:", "https:"))

    assert (outcome.kind, outcome.sent) == (FailureKind.TLS, False)
    assert "closed the connection during the handshake" in outcome.message


async def test_a_handshake_that_drips_ends_at_the_deadline(caller: Caller) -> None:
    async def dripping(peer: Peer) -> None:
        await peer.send(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03")
        while True:
            await peer.send(b"\x00")
            await asyncio.sleep(0.01)

    async with serving(dripping) as server:
        outcome = await failing(caller, server.url.replace("http:", "https:"), timeout_secs=0.2)
        await eventually(lambda: server.open_connections == 0)

    assert (outcome.kind, outcome.sent) == (FailureKind.TIMEOUT, False)
    assert "(in the TLS handshake with 127.0.0.1:" in outcome.message


async def test_a_server_that_wants_a_client_certificate(
    certified: MakeContext, trusting: Callable[..., Caller]
) -> None:
    context = certified()
    context.verify_mode = ssl.CERT_REQUIRED

    async def refusing(peer: Peer) -> None:
        # A stream server would reset the connection; this one sends the alert, as OpenSSL's own servers do.
        received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(received, to_send, server_side=True)
        while True:
            received.write(await peer.reader.read(MIB))
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                await peer.send(to_send.read())
            except ssl.SSLError:
                await peer.send(to_send.read())
                return await peer.hang()

    async with serving(refusing) as server:
        outcome = await failing(trusting(), server.url.replace("http:", "https:"))

    # With TLS 1.3 the client is done before the server has refused it, so the request was on its way.
    assert (outcome.kind, outcome.sent) == (FailureKind.TLS, True)
    assert outcome.message == "TLS failed: TLSV13_ALERT_CERTIFICATE_REQUIRED"


async def test_a_hanging_answer_over_tls_ends_at_the_deadline(
    certified: MakeContext, trusting: Callable[..., Caller]
) -> None:
    async with serving(answering(b"HTTP/1.1 200 OK\r\n", then="hang"), certified()) as server:
        outcome = await failing(trusting(), server.url, timeout_secs=0.2)
        await eventually(lambda: server.open_connections == 0)

    assert (outcome.kind, outcome.sent) == (FailureKind.TIMEOUT, True)
