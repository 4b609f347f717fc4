"""Whether a proxy passed a call on: then the client's address is the proxy's, and says nothing of who called.

A proxy that adds no header and speaks HTTP/1.1 like a browser cannot be told from a program on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# Families rather than a list: each product has several, and a new one is seldom named outside these.
_ADDED_BY_A_PROXY = re.compile(
    r"""
      (x-)? forwarded (-.*)? | x-forwarded.* | via
    | (.*-)? (client|real|remote|source|peer|origin|originating|connecting|external) -? (ip|addr|address) (-.*)?
    | true-client-.* | x-client-.* | x-cluster-.* | x-real-.* | x-remote-.* | remote-.*
    | x-original-.* | x-originating-.* | x-rewrite-.* | x-proxy.* | proxy-.* | x-host | x-server-.* | x-scheme
    | x-url-scheme | front-end-https | x-ssl.* | ssl-.* | x-tls-.* | x-arr-.* | x-iis-.* | x-waws-.* | x-appservice-.*
    | cf-.* | cdn-.* | x-cdn.* | fastly-.* | x-fastly-.* | fly-.* | x-vercel-.* | x-nf-.* | x-render-.* | x-railway-.*
    | x-envoy-.* | x-amzn-.* | x-amz-cf-.* | cloudfront-.* | x-azure-.* | x-fd-.* | x-ms-client-.* | x-ms-token-.*
    | x-goog-(iap|authenticated)-.* | x-appengine-.* | x-cloud-trace-context | x-google-.* | x-varnish | akamai-.*
    | x-akamai-.* | x-sucuri-.* | incap-.* | x-traefik-.* | x-kong-.* | x-consumer-.* | x-haproxy-.* | x-nginx-.*
    | ngrok-.* | tailscale-.* | x-auth-request-.* | x-authentik-.* | x-webauth-.* | x-openshift-.* | x-github-request-id
    """,
    re.VERBOSE | re.IGNORECASE,
)


def passed_on(headers: Iterable[tuple[str, str]], http_version: str = "1.1") -> bool:
    """Whether a proxy shows in what has arrived.

    Args:
        headers: Names and values, as they came.
        http_version: Of the request. nginx speaks 1.0 to its upstream unless it is told otherwise.
    """
    names = {name.lower().replace("_", "-"): value for name, value in headers}
    # nginx with the usual lines for WebSockets sends "Connection: upgrade" and no Upgrade with every other request.
    half_an_upgrade = "upgrade" in names.get("connection", "").lower() and "upgrade" not in names
    return http_version < "1.1" or half_an_upgrade or any(map(_ADDED_BY_A_PROXY.fullmatch, names))
