"""`orchestrator app check`: is the manifest right, and is there something that listens at its endpoint?"""

import re
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from app_sdk.protocol.manifest import AppManifest, ManifestError, read_manifest
from orchestrator.cli.connecting import connect, read_settings
from orchestrator.cli.documents import STDIN, read_source
from orchestrator.cli.failures import Misused, RunFailed
from orchestrator.cli.findings import Finding, is_ok, report
from orchestrator.cli.formats import JsonObject, one_line, plural

_APP_ID = re.compile(r"appx?_[a-z0-9]+")
_CONNECT_SECS = 5.0
_PORTS = {"http": 80, "https": 443}


def check_app(subject: str, *, url: str | None, token: str | None, config: Path | None, as_json: bool) -> None:
    """Check an installed app, or a manifest from a file, a URL or standard input, and print what was found.

    Raises RunFailed when something is wrong with it, and CommandError when it cannot be had.
    """
    manifest: bytes | JsonObject
    if _is_source(subject):
        manifest = read_source(subject)
    elif _APP_ID.fullmatch(subject):
        with connect(read_settings(url, token, config)) as api:
            found = api.get("v1", "apps", subject).get("manifest")
        manifest = found if isinstance(found, dict) else {}
    else:
        raise Misused(f"{subject} is neither a file, nor a URL, nor an app's id (app_…)")
    findings = list(_findings(manifest))
    report(findings, as_json=as_json)
    if not is_ok(findings):
        raise RunFailed(f"{subject} does not pass", "What failed is said above; mend it and check again.")


def _is_source(subject: str) -> bool:
    return subject == STDIN or "://" in subject or Path(subject).is_file()


def _findings(document: bytes | JsonObject) -> Iterator[Finding]:
    try:
        manifest = read_manifest(document)
    except ManifestError as error:
        for path, problem in error.problems:
            yield Finding("manifest", "failed", f"{path}: {problem}")
        return
    tasks = plural(len(manifest.tasks), "task", "tasks")
    yield Finding("manifest", "ok", f"{manifest.id} with {tasks}")
    if not manifest.tasks:
        yield Finding("tasks", "warning", "none is registered, so that nothing can be launched")
    if manifest.webhook_endpoint is None:
        yield Finding("endpoint", "ok", "none is needed: every task is pulled")
    else:
        yield from _endpoint_findings(manifest, manifest.webhook_endpoint)


def _endpoint_findings(manifest: AppManifest, endpoint: str) -> Iterator[Finding]:
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    try:
        connection = socket.create_connection((host, port), timeout=_CONNECT_SECS)
    except (socket.gaierror, UnicodeError) as error:
        # UnicodeError: a label of more than 63 characters, which no name server is asked for.
        yield Finding("address", "failed", f"{host} has no address: {one_line(error)}")
        return
    except OSError as error:
        yield Finding("connection", "failed", f"{host}, port {port}: {_reason(error)}; is the app running?")
        return
    with connection:
        yield Finding("connection", "ok", f"{host}, port {port}, answers")
        if parts.scheme == "https":
            yield _tls_finding(connection, host, verify=manifest.verify_tls is not False)


def _tls_finding(connection: socket.socket, host: str, *, verify: bool) -> Finding:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    try:
        with context.wrap_socket(connection, server_hostname=host) as secured:
            version = secured.version()
    except ssl.SSLCertVerificationError as error:
        advice = "for a certificate of your own, in development: verify_tls false in the manifest"
        return Finding("TLS", "failed", f"{error.verify_message}; {advice}")
    except OSError as error:
        return Finding("TLS", "failed", _reason(error))
    return Finding(
        "TLS", "ok" if verify else "warning", f"{version}{'' if verify else ', the certificate not verified'}"
    )


def _reason(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {_CONNECT_SECS:g} s"
    return one_line(error.strerror or error)
