"""Object stores: which package reads a URL, what lies under a prefix, and a stream that reads ahead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO, cast

from opskit.errors import MissingExtraError, SettingError
from opskit.files.ahead import ReadAhead

_OURS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
"""The extra of opskit that reads a protocol."""
_OF_FSSPEC = {"https": "http"}
"""Of fsspec, where an extra is not called like its protocol."""


def protocol_of(url: str) -> str:
    """The protocol of a URL; of a chain (`simplecache::s3://…`) that of the store."""
    return url.partition("://")[0].rpartition("::")[2]


def filesystem(url: str) -> tuple[Any, str]:
    """The store behind a URL, and the path within it.

    Raises:
        MissingExtraError: A package is not installed; the sentence says which extra has it.
    """
    try:
        import fsspec
    except ImportError:
        raise MissingExtraError("fsspec", _OURS.get(protocol_of(url), "ui")) from None
    try:
        store, path = fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise _missing(protocol_of(url)) from error
    return store, path


def check(url: str) -> None:
    """See that what reads a URL is installed; nothing is connected to.

    Raises:
        MissingExtraError: It is not; the sentence says which extra has it.
        SettingError: There is no such protocol.
    """
    protocol = protocol_of(url)
    try:
        import fsspec

        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise _missing(protocol) from error
    except ValueError:
        raise SettingError(f"OPSKIT_STORAGE is {url!r}, and nothing reads {protocol}://") from None


def _missing(protocol: str) -> MissingExtraError:
    what = f"what reads {protocol}://"
    if protocol in _OURS:
        return MissingExtraError(what, _OURS[protocol])
    return MissingExtraError(what, _OF_FSSPEC.get(protocol, protocol), of="fsspec")


def opened(url: str) -> BinaryIO:
    """The bytes behind a URL; of an object store the next range is fetched while one is read."""
    store, path = filesystem(url)
    if protocol_of(url) in _OURS and "::" not in url:
        return cast(BinaryIO, ReadAhead(store, path))
    import fsspec

    plain: BinaryIO = fsspec.open(url, "rb").open()
    return plain


def under(prefix: str) -> Iterator[tuple[str, int | None, str]]:
    """The objects under a prefix in the order of their names: URL, size [bytes], and what changes when they do.

    Raises:
        MissingExtraError: A package is not installed.
    """
    store, root = filesystem(prefix)
    store.invalidate_cache()
    for path, about in sorted(store.find(root, detail=True).items()):
        if about.get("type") == "file":
            stamp = next(
                (about[key] for key in ("ETag", "etag", "LastModified", "mtime", "created") if about.get(key)), ""
            )
            yield store.unstrip_protocol(path), about.get("size"), str(stamp)
