"""How a server is reached: proxies and certificates as the environment says, and plain words where that fails."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from seedbed.engines import EngineError, EngineGone
from seedbed.engines.http import HttpEngine
from tests.test_http import HELLO, completion

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy")
BUNDLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in (*PROXIES, *BUNDLES):
        monkeypatch.delenv(name, raising=False)


def certificate(folder, name="127.0.0.1"):
    """A certificate of one's own for an address, and the context of a server that has it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    alternative = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def serving(handler, work, context=None):
    """What `work` gives for the port of a server with this handler."""
    app = web.Application()
    app.router.add_route("*", "/{page:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        return await work(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def answer(base_url, **options):
    async with HttpEngine(base_url, "m", backoff=0.001, **{"retries": 2} | options) as engine:
        return (await engine.chat(HELLO, step="t")).text


async def fine(request):
    return completion()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_asked_for_the_whole_address(monkeypatch, variable):
    seen = []

    async def proxy(request):
        seen.append((str(request.raw_path), request.headers.get("Proxy-Authorization"), request.headers["Host"]))
        return completion()

    async def work(port):
        monkeypatch.setenv(variable, f"http://me:word@127.0.0.1:{port}")
        return await answer("http://llm.internal.example:8000/v1")

    assert asyncio.run(serving(proxy, work)) == "fine"
    address = "http://llm.internal.example:8000/v1/chat/completions"
    assert seen == [(address, "Basic bWU6d29yZA==", "llm.internal.example:8000")]


def test_no_proxy_is_asked_for_a_host_that_needs_none_or_for_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def work(port):
        return await answer(f"http://127.0.0.1:{port}/v1"), await answer(f"http://localhost:{port}/v1")

    assert asyncio.run(serving(fine, work)) == ("fine", "fine")
    monkeypatch.setenv("NO_PROXY", "example")
    with pytest.raises(EngineError, match=r"the name llm.internal.example is not known"):
        asyncio.run(answer("http://llm.internal.example/v1"))


def test_https_goes_through_a_tunnel_of_the_proxy(monkeypatch, tmp_path):
    context = certificate(tmp_path, "llm.internal.example")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    asked = []

    async def tunnel(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split(b"\r\n")[0].decode())
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", int(asked[0].split()[1].split(":")[1]))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def pass_on(source, target):
            while piece := await source.read(65_536):
                target.write(piece)
            target.close()

        await asyncio.gather(pass_on(reader, there_writer), pass_on(there_reader, writer), return_exceptions=True)

    async def work(port):
        proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        try:
            return await answer(f"https://llm.internal.example:{port}/v1")
        finally:
            proxy.close()

    assert asyncio.run(serving(fine, work, context)) == "fine"
    assert asked and asked[0].startswith("CONNECT llm.internal.example:")


def test_a_proxy_that_is_not_there_or_wants_a_login_is_named(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(EngineError, match=r"the proxy http://127.0.0.1:9, named in the environment, cannot be reached"):
        asyncio.run(answer("http://llm.internal.example/v1"))
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:9")
    with pytest.raises(ValueError, match="socks5 proxy, and only http ones can be used"):
        HttpEngine("http://llm.internal.example/v1", "m")


@pytest.mark.parametrize("variable", BUNDLES[:1] + BUNDLES[2:])
def test_a_certificate_of_ones_own_is_trusted_where_the_environment_names_it(monkeypatch, tmp_path, variable):
    context = certificate(tmp_path)
    monkeypatch.setenv(variable, str(tmp_path / "cert.pem"))
    assert asyncio.run(serving(fine, lambda port: answer(f"https://127.0.0.1:{port}/v1"), context)) == "fine"


def test_an_untrusted_certificate_is_named_at_once_with_what_to_set(tmp_path):
    context = certificate(tmp_path)
    with pytest.raises(EngineGone, match=r"not trusted \(self-signed certificate\).*SSL_CERT_FILE"):
        asyncio.run(serving(fine, lambda port: answer(f"https://127.0.0.1:{port}/v1"), context))


def test_a_certificate_for_another_name_says_so(monkeypatch, tmp_path):
    context = certificate(tmp_path, "127.0.0.2")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    with pytest.raises(EngineGone, match="certificate is for another name"):
        asyncio.run(serving(fine, lambda port: answer(f"https://127.0.0.1:{port}/v1"), context))


def test_https_where_only_http_is_spoken_says_so():
    with pytest.raises(EngineGone, match="no TLS is spoken there"):
        asyncio.run(serving(fine, lambda port: answer(f"https://127.0.0.1:{port}/v1")))


def test_certificates_that_cannot_be_read_are_named(monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(ValueError, match=r"REQUESTS_CA_BUNDLE names cannot be read: /nowhere/ca.pem"):
        HttpEngine("https://127.0.0.1:9/v1", "m")
