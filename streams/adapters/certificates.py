"""When certificates end."""

from collections.abc import Iterable
from pathlib import Path

from cryptography import x509


def earliest_end(files: Iterable[Path]) -> float:
    """When the first of the certificates in PEM files ends, Unix seconds; 0 where there is none that can be read."""
    ends = []
    for file in files:
        try:
            found = x509.load_pem_x509_certificates(file.read_bytes())
        except (OSError, ValueError):
            continue  # whoever uses the file says what is wrong with it
        ends += [each.not_valid_after_utc.timestamp() for each in found]
    return min(ends, default=0.0)
