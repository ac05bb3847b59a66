"""`orchestrator app check` and `orchestrator doctor`."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import respx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator import __version__
from tests.cli.support import Document, Invoke, app_document, problem

TASKS = [{"id": "app_shop_import", "name": "Import"}]
STATUS = {
    "version": __version__,
    "node": "n1",
    "database": "sqlite",
    "executions": {"running": 2, "failed": 1},
    "due_workers": 3,
    "undelivered_batches": 0,
}


def write_manifest(**changes: object) -> str:
    manifest: Document = {"id": "app_shop", "name": "Shop", "tasks": TASKS, **changes}
    Path("manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return "manifest.json"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield listening


def endpoint(listener: socket.socket, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/webhooks"


@contextmanager
def answering(listener: socket.socket, context: ssl.SSLContext | None) -> Iterator[None]:
    """One connection is answered: with a TLS handshake, or without a `context` with plain text."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            if context is None:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                return
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                return  # The client does not trust the certificate, and says so by hanging up.

    thread = threading.Thread(target=answer)
    thread.start()
    yield
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "server.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


class TestAppCheck:
    def test_a_manifest_whose_endpoint_listens(self, listener: socket.socket, invoke: Invoke) -> None:
        result = invoke("app", "check", write_manifest(webhook_endpoint=endpoint(listener)))
        assert result.exit_code == 0
        assert "app_shop with 1 task" in result.stdout

    def test_every_fault_of_a_manifest_is_named(self, invoke: Invoke) -> None:
        result = invoke("app", "check", write_manifest(id="shop", name=""), "--json")
        assert result.exit_code == 1
        document = json.loads(result.stdout)
        assert document["ok"] is False
        details = [check["detail"] for check in document["checks"]]
        assert [detail.partition(":")[0] for detail in details] == ["$.id", "$.name"]
        assert "Error: manifest.json does not pass" in result.stderr

    def test_an_endpoint_where_nobody_listens(self, listener: socket.socket, invoke: Invoke) -> None:
        address = endpoint(listener)
        listener.close()
        result = invoke("app", "check", write_manifest(webhook_endpoint=address))
        assert result.exit_code == 1
        assert "Connection refused; is the app running?" in result.stdout

    def test_an_endpoint_without_an_address(self, invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        result = invoke("app", "check", write_manifest(webhook_endpoint="http://nowhere.invalid/"))
        assert result.exit_code == 1
        assert "nowhere.invalid has no address" in result.stdout

    def test_an_endpoint_that_no_name_can_stand_for(self, invoke: Invoke) -> None:
        result = invoke("app", "check", write_manifest(webhook_endpoint=f"http://{'a' * 64}.example/"))
        assert result.exit_code == 1
        assert "has no address" in result.stdout

    def test_a_manifest_without_an_endpoint(self, invoke: Invoke) -> None:
        pulled = [{"id": "app_shop_import", "name": "Import", "transport": "pull"}]
        result = invoke("app", "check", write_manifest(tasks=pulled))
        assert result.exit_code == 0
        assert "none is needed" in result.stdout

    def test_a_manifest_without_tasks_is_pointed_out(self, invoke: Invoke) -> None:
        result = invoke("app", "check", write_manifest(tasks=[]))
        assert result.exit_code == 0
        assert "nothing can be launched" in result.stdout

    @pytest.mark.parametrize(
        ("verify", "exit_code", "said"),
        [(None, 1, "verify_tls false"), (False, 0, "the certificate not verified")],
    )
    def test_a_certificate_of_ones_own(
        self,
        verify: bool | None,
        exit_code: int,
        said: str,
        listener: socket.socket,
        self_signed: ssl.SSLContext,
        invoke: Invoke,
    ) -> None:
        manifest = write_manifest(webhook_endpoint=endpoint(listener, "https"), verify_tls=verify)
        with answering(listener, self_signed):
            result = invoke("app", "check", manifest)
        assert result.exit_code == exit_code
        assert said in result.stdout

    def test_https_where_there_is_none(self, listener: socket.socket, invoke: Invoke) -> None:
        manifest = write_manifest(webhook_endpoint=endpoint(listener, "https"))
        with answering(listener, None):
            result = invoke("app", "check", manifest)
        assert result.exit_code == 1
        assert "TLS" in result.stdout

    def test_an_installed_app(self, listener: socket.socket, server: respx.MockRouter, invoke: Invoke) -> None:
        manifest = {"id": "app_shop", "name": "S", "tasks": TASKS, "webhook_endpoint": endpoint(listener)}
        answer = httpx.Response(200, json=app_document(manifest=manifest))
        server.get("/v1/apps/app_shop").mock(return_value=answer)
        assert invoke("app", "check", "app_shop").exit_code == 0

    def test_an_app_that_is_not_installed(self, server: respx.MockRouter, invoke: Invoke) -> None:
        server.get("/v1/apps/app_x").mock(return_value=problem(404, "there is no app app_x"))
        assert invoke("app", "check", "app_x").exit_code == 3

    def test_neither_a_file_nor_an_app(self, invoke: Invoke) -> None:
        assert invoke("app", "check", "nowhere.json").exit_code == 2


class TestDoctor:
    def answer(self, server: respx.MockRouter, **status: object) -> None:
        server.get("/healthz").mock(return_value=httpx.Response(200, json={"status": "alive"}))
        server.get("/readyz").mock(return_value=httpx.Response(200, json={"status": "ready"}))
        server.get("/v1/status").mock(return_value=httpx.Response(200, json={**STATUS, **status}))

    def checks(self, invoke: Invoke, exit_code: int) -> dict[str, tuple[str, str]]:
        result = invoke("doctor", "--json")
        assert result.exit_code == exit_code
        document = json.loads(result.stdout)
        assert document["ok"] == (exit_code == 0)
        return {check["check"]: (check["status"], check["detail"]) for check in document["checks"]}

    def test_all_is_well(self, server: respx.MockRouter, invoke: Invoke) -> None:
        self.answer(server)
        result = invoke("doctor")
        assert result.exit_code == 0
        for text in ("http://127.0.0.1:8400", "sqlite", "2 running, 1 failed", "3 due", __version__):
            assert text in result.stdout
        assert all(status == "ok" for status, _ in self.checks(invoke, 0).values())

    def test_what_is_odd_is_a_warning(self, server: respx.MockRouter, invoke: Invoke) -> None:
        self.answer(server, version="0.0.1", undelivered_batches=4)
        checks = self.checks(invoke, 0)
        assert checks["version"] == ("warning", f"server 0.0.1, this {__version__}")
        assert checks["imports"][0] == "warning"

    def test_no_server(self, invoke: Invoke, respx_mock: respx.MockRouter) -> None:
        respx_mock.get("http://127.0.0.1:8400/healthz").mock(side_effect=httpx.ConnectError("refused"))
        checks = self.checks(invoke, 5)
        assert checks["data directory"][0] == "warning"
        assert checks["server"][0] == "failed"
        assert "orchestrator serve" in checks["server"][1]

    def test_a_server_that_drains(self, server: respx.MockRouter, invoke: Invoke) -> None:
        self.answer(server)
        server.get("/readyz").mock(return_value=problem(503, "draining"))
        checks = self.checks(invoke, 5)
        assert checks["server"][0] == "ok"
        assert checks["ready"][0] == "failed"

    def test_a_wrong_token(self, server: respx.MockRouter, invoke: Invoke) -> None:
        self.answer(server)
        server.get("/v1/status").mock(return_value=problem(401, "this token is not known"))
        checks = self.checks(invoke, 4)
        assert checks["ready"][0] == "ok"
        assert checks["token"][0] == "failed"

    def test_secrets_that_others_can_read(self, server: respx.MockRouter, invoke: Invoke) -> None:
        self.answer(server)
        Path(".orchestrator/admin-token").chmod(0o644)
        checks = self.checks(invoke, 1)
        assert checks["data directory"] == (
            "failed",
            "others can read admin-token in .orchestrator: chmod 600",
        )
