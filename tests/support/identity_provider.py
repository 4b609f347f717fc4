"""A small OpenID Connect provider for the tests: its own page to choose who one is, signed tokens, PKCE."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.support.http_servers import listening

CLIENT, SECRET = "opskit", "a secret of the tests"
PEOPLE = ("ann@example.com", "cid@example.com", "eve@evil.example")


class Provider(ThreadingHTTPServer):
    """Who asks for a code chooses a person; who shows the code, its verifier and the secret gets a token."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.key = RSAKey.generate_key(2048, {"kid": "1", "use": "sig", "alg": "RS256"})
        self.codes: dict[str, dict[str, str]] = {}
        self.says: dict[str, Any] = {}
        """Claims that it makes otherwise; None: not at all."""


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        given = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/.well-known/openid-configuration":
            self._json(
                {
                    "issuer": self.server.url,
                    "authorization_endpoint": f"{self.server.url}/authorize",
                    "token_endpoint": f"{self.server.url}/token",
                    "jwks_uri": f"{self.server.url}/jwks",
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                }
            )
        elif url.path == "/jwks":
            self._json({"keys": [self.server.key.as_dict(private=False)]})
        elif url.path == "/authorize" and given.get("client_id") == CLIENT:
            links = "".join(f'<p><a href="/choose?{urlencode({**given, "email": who})}">{who}</a>' for who in PEOPLE)
            self._send(f"<!doctype html><link rel=icon href=data:,><title>Who are you?</title>{links}", "text/html")
        elif url.path == "/choose":
            code = secrets.token_urlsafe()
            self.server.codes[code] = given
            self.send_response(302)
            self.send_header(
                "Location", f"{given['redirect_uri']}?{urlencode({'code': code, 'state': given['state']})}"
            )
            self.end_headers()
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        given = {name: values[0] for name, values in parse_qs(body).items()}
        asked = self.server.codes.pop(given.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(given.get("code_verifier", "").encode()).digest())
        basic = base64.b64encode(f"{CLIENT}:{SECRET}".replace(" ", "%20").encode()).decode()
        plain = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        shown = self.headers.get("Authorization", "").removeprefix("Basic ")
        if (
            urlsplit(self.path).path != "/token"
            or asked is None
            or shown not in (basic, plain)
            or asked.get("code_challenge") != challenge.decode().rstrip("=")
        ):
            self._json({"error": "invalid_grant"}, 400)
            return
        now = int(time.time())
        claims = {
            "iss": self.server.url, "aud": CLIENT, "sub": asked["email"], "email": asked["email"],
            "email_verified": True, "iat": now, "exp": now + 600, "nonce": asked["nonce"],
        }  # fmt: skip
        claims = {name: value for name, value in (claims | self.server.says).items() if value is not None}
        token = jwt.encode({"alg": "RS256", "kid": "1"}, claims, self.server.key)
        self._json({"access_token": "none", "token_type": "Bearer", "expires_in": 600, "id_token": token})

    def _json(self, answer: dict[str, Any], status: int = 200) -> None:
        self._send(json.dumps(answer), "application/json", status)

    def _send(self, text: str, kind: str, status: int = 200) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def write_secrets(folder: Path, server: str, redirect: str = "http://127.0.0.1:{port}/oauth2callback") -> None:
    """What docs/howto/sign-in.md says of `.streamlit/secrets.toml`, for a page that starts in *folder*."""
    (folder / ".streamlit").mkdir(exist_ok=True)
    (folder / ".streamlit" / "secrets.toml").write_text(
        f"""
        [auth]
        redirect_uri = "{redirect}"
        cookie_secret = "long enough to be a secret of 32 bytes"
        client_id = "{CLIENT}"
        client_secret = "{SECRET}"
        server_metadata_url = "{server}/.well-known/openid-configuration"
        """
    )


@contextlib.contextmanager
def provider() -> Iterator[Provider]:
    """The provider, listening."""
    with listening(Provider()) as server:
        yield server
