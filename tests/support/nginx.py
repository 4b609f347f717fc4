"""A real nginx before the page, for the tests."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

UPGRADE = """
    proxy_http_version 1.1;
    proxy_set_header Upgrade $http_upgrade;
    proxy_set_header Connection "upgrade";
"""
"""The usual lines for WebSockets."""
HOST = "    proxy_set_header Host $http_host;\n"


@contextlib.contextmanager
def nginx(folder: Path, upstream: str, port: int, lines: str = "") -> Iterator[str]:
    """nginx that passes everything on to *upstream*, by its defaults and *lines*; its address."""
    assert NGINX is not None
    place = folder / f"nginx-{port}"
    place.mkdir()
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "\n".join(f"  {kind}_temp_path {place}/{kind};" for kind in kinds)
    (place / "nginx.conf").write_text(
        f"""
        daemon off; master_process off; pid {place}/pid; error_log {place}/error.log;
        events {{}}
        http {{
          access_log off;
          {temporary}
          server {{
            listen 127.0.0.1:{port};
            client_max_body_size 0;
            location / {{
              proxy_pass {upstream};
              {lines}
            }}
          }}
        }}
        """
    )
    process = subprocess.Popen(
        [NGINX, "-p", str(place), "-c", str(place / "nginx.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            assert process.poll() is None, (place / "error.log").read_text()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
