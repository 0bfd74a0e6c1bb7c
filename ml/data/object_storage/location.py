"""URLs of object storage, the file systems behind them, and what goes wrong there in one sentence.

Credentials come from where the library of each storage looks for them (environment, files, the role of a machine), and
never stand in a URL: URLs are written into files, logs and reports.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ml.data.landing.file_lines import LandingError
from ml.extras import require

# by protocol: the extra that reads it, and where its library finds credentials
EXTRAS = {"s3": "s3", "gs": "gs", "az": "az"}
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE) or the role of this machine",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS or the service account of this machine",
    "az": "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, or AZURE_STORAGE_CONNECTION_STRING",
}
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_KNOWN = " or ".join(f"{protocol}://" for protocol in EXTRAS)
_SHOWN = 200
# names of errors, and what stands in their texts, of the libraries of all storages
_NO_CREDENTIALS = re.compile(
    r"NoCredentialsError|PartialCredentialsError|CredentialRetrievalError|ProfileNotFound|DefaultCredentialsError"
    r"|unable to locate credentials|must provide either a connection_string or account_name"
    r"|anonymous caller|ClientAuthenticationError|RefreshError"
)
_FORBIDDEN = re.compile(
    r"PermissionError|\b40[13]\b|forbidden|access ?denied|invalid ?access ?key|signature ?does ?not ?match"
    r"|expired ?token|authorization ?failure",
    re.IGNORECASE,
)
_UNREACHABLE = re.compile(
    r"EndpointConnectionError|ConnectTimeoutError|ReadTimeoutError|ClientConnector|ConnectionRefused|ConnectionClosed"
    r"|ConnectionError|ServiceRequestError|ServerTimeout|TimeoutError|ServerDisconnected|could not connect to the"
)
_NO_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist|ContainerNotFound|container does not exist", re.IGNORECASE)


class StorageError(LandingError):
    """A storage that cannot be read or written; the message names the URL and says what to do.

    Nothing is known then of what lies there, which is not to say that there is nothing.
    """


@dataclass(frozen=True)
class Location:
    """A place in object storage, such as ``s3://bucket/prefix``.

    Attributes:
        protocol: ``s3``, ``gs`` or ``az``.
        path: the bucket, and what is behind it, without a slash at the end.
    """

    protocol: str
    path: str

    @classmethod
    def of(cls, text: str) -> Location | None:
        """The place that a URL names; ``None`` for what is no URL, such as the path of a folder.

        Raises:
            ValueError: it is a URL that cannot be used; the message shows no secret.
        """
        found = _URL.fullmatch(text.strip())
        if found is None:
            return None
        protocol, path = found[1].lower(), found[2].rstrip("/")
        shown = masked(text.strip())
        if protocol not in EXTRAS:
            raise ValueError(f"{shown} is not read: give the path of a folder, or a URL that begins with {_KNOWN}")
        if "@" in path.split("/")[0] or "?" in path:
            raise ValueError(
                f"{shown} holds credentials, which would be written into files and logs: give "
                f"{protocol}://bucket/prefix, and the credentials by {_CREDENTIALS[protocol]}"
            )
        parts = path.split("/")
        if not path or any(part in ("", ".", "..") for part in parts) or re.search(r"[\x00-\x1f\x7f\\]", path):
            raise ValueError(f"{shown} names no place: give {protocol}://bucket/prefix")
        return cls(protocol, path)

    def __str__(self) -> str:
        return f"{self.protocol}://{self.path}"

    @property
    def bucket(self) -> str:
        return self.path.split("/")[0]

    @property
    def name(self) -> str:
        """The last part, as of a folder."""
        return self.path.rsplit("/", 1)[-1]

    def __truediv__(self, name: str) -> Location:
        return Location(self.protocol, f"{self.path}/{name}")

    def file_system(self) -> Any:
        """The fsspec file system that reads it, without what an earlier one has listed.

        Raises:
            MissingExtra: its library is not installed.
            StorageError: it cannot be made, for want of credentials or by a wrong configuration.
        """
        require(EXTRAS[self.protocol], str(self))
        import fsspec

        with told(self):
            system = fsspec.filesystem(self.protocol)
            system.invalidate_cache()
            return system


def masked(text: str) -> str:
    """A text with the secrets that URLs may hold taken out: user and password, and what is behind a question mark."""
    text = re.sub(r"(://)[^/\s'\"?]*@", r"\1***@", text)
    return re.sub(r"(://[^\s'\"?]*)\?[^\s'\"]*", r"\1?***", text)


@contextmanager
def told(place: Location) -> Iterator[None]:
    """Say what goes wrong with a place in one sentence.

    Raises:
        StorageError: instead of any error of the libraries.
    """
    try:
        yield
    except (StorageError, MemoryError):
        raise
    except Exception as error:  # the libraries of three storages have no common class of errors
        raise StorageError(_in_words(place, error)) from error


def _without_names(place: Location, text: str) -> str:
    """A text without the names of a place, which may hold what looks like a status, as ``part-403.csv``."""
    for name in (place.path, place.path.partition("/")[2]):
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", "", text) if name else text
    return text


def _in_words(place: Location, error: BaseException) -> str:
    chain: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in chain:
        chain.append(at)
        at = at.__cause__ or at.__context__
    text = _without_names(place, " ".join(f"{type(each).__name__}: {each}" for each in chain))
    where = _CREDENTIALS[place.protocol]
    if _NO_CREDENTIALS.search(text):
        return f"{place} cannot be read without credentials: give them by {where}"
    if _NO_BUCKET.search(text):
        return f"{place}: there is no bucket {place.bucket}: correct the name, or make it"
    if _FORBIDDEN.search(text):
        return (
            f"{place} may not be used with the present credentials: give others by {where}, or let them list, read and "
            "(for a lake) write there"
        )
    if _UNREACHABLE.search(text):
        return (
            f"the server of {place} cannot be reached: check the network, and the address where one is set "
            f"({'AWS_ENDPOINT_URL' if place.protocol == 's3' else f'FSSPEC_{place.protocol.upper()}'}), and run the "
            "command again"
        )
    if isinstance(error, FileNotFoundError):
        return f"{place} is gone: it was there when its folder was listed; run the command again"
    said = masked(" ".join(str(error).split()))[:_SHOWN]
    return f"{place} cannot be used ({type(error).__name__}: {said}): see docs/scale.md, and run the command again"
