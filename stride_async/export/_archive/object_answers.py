"""What an object store needs of the environment, and what its answers mean.

Credentials and the endpoint come from the environment alone, as obstore reads it. What obstore says of an error may
contain parts of a request, so messages have only the status and the code of an answer.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

import attrs
from obstore.exceptions import NotSupportedError, PermissionDeniedError, UnauthenticatedError

from stride_async.export._archive.address import StoreAddress
from stride_async.export._archive.errors import StoreRefused

# What the environment needs for each kind of store: one of these sets of variables.
_CREDENTIALS: Mapping[str, Sequence[tuple[str, ...]]] = {
    "s3": (
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
        ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI",),
        ("AWS_SKIP_SIGNATURE",),
    ),
    "gs": (
        ("GOOGLE_SERVICE_ACCOUNT",),
        ("GOOGLE_SERVICE_ACCOUNT_PATH",),
        ("GOOGLE_SERVICE_ACCOUNT_KEY",),
        ("GOOGLE_APPLICATION_CREDENTIALS",),
        ("GOOGLE_SKIP_SIGNATURE",),
    ),
    "az": (
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_SAS_TOKEN"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_CLIENT_ID", "AZURE_STORAGE_CLIENT_SECRET"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_FEDERATED_TOKEN_FILE"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_SKIP_SIGNATURE"),
    ),
}
_TRUE = frozenset({"1", "true", "on", "yes", "y"})
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_NO_BUCKET = frozenset({"NoSuchBucket", "ContainerNotFound"})
_NOT_IMPLEMENTED = 501
_NOT_SATISFIABLE = 416
# Requests that obstore did not send, or whose answer leads nowhere.
_USELESS = ("builder error", "Received redirect without LOCATION", "error following redirect")
_TRANSIENT = frozenset({408, 409, 425, 429})


def require_environment(address: StoreAddress) -> None:
    """Refuse an environment without credentials: obstore would ask an address of the cloud's machines for them.

    Raises:
        StoreRefused: There are none, or the endpoint cannot be used.
    """
    sets = _CREDENTIALS[address.scheme]
    if not any(all(os.environ.get(name) for name in names) for names in sets):
        raise StoreRefused(f"{address} needs credentials: set {' and '.join(sets[0])} in the environment")
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT") or ""
    is_allowed = os.environ.get("AWS_ALLOW_HTTP", "").lower() in _TRUE
    if address.scheme == "s3" and endpoint.startswith("http:") and not is_allowed:
        raise StoreRefused(f"{address} has an endpoint without TLS: set AWS_ALLOW_HTTP=true to allow that")


@attrs.frozen
class Answer:
    """What is known of a request that failed."""

    status: int
    """0 without an answer."""
    code: str
    is_refusal: bool
    """Whether it is useless to send the request again."""
    is_answered: bool
    """Whether something answered, be it a store or not."""

    @classmethod
    def of(cls, error: Exception) -> Answer:
        """Return what an error of obstore says."""
        text = str(error)
        status = int(found[1]) if (found := _STATUS.search(text)) is not None else 0
        code = found[1] if (found := _CODE.search(text)) is not None else ""
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            status = status or 403
        is_useless = any(each in text for each in _USELESS) or isinstance(error, NotSupportedError)
        is_status_of_refusal = status == _NOT_IMPLEMENTED or (300 <= status < 500 and status not in _TRANSIENT)
        return cls(status, code, is_useless or is_status_of_refusal, status > 0 or "HTTP error: " not in text)

    @property
    def has_no_bucket(self) -> bool:
        """Whether the bucket does not exist."""
        return self.code in _NO_BUCKET

    @property
    def is_out_of_range(self) -> bool:
        """Whether an object is shorter than what was asked for."""
        return self.status == _NOT_SATISFIABLE

    def __str__(self) -> str:
        if self.status:
            return f"it answers {self.status} {self.code}".rstrip()
        return "its answer is not one of an object store" if self.is_answered else "it does not answer"

    def refusal(self, address: StoreAddress) -> str:
        """Return a refusal as a sentence."""
        if self.has_no_bucket:
            return f"{address} cannot be used: there is no bucket {address.bucket}"
        if self.status in {401, 403}:
            return f"{address} refuses access: {self}; check the credentials and what they allow"
        if not self.status:
            return f"{address} cannot be requested; check the endpoint and the region"
        return f"{address} refuses a request: {self}; check the endpoint and the region"
