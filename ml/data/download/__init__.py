"""Fetching the public Amazon review files: resumed where it broke off, and put in place only when whole.

A file grows as ``<name>.part``, with what the server said of it in ``<name>.part.state`` (JSON). It gets its
name after its size and the checksum of the gzip stream have been found right. A process killed at any moment
loses at most what it had not yet written, and the next one goes on from there.

The layout of the three releases is that of their pages, cseweb.ucsd.edu/~jmcauley/datasets/amazon/links.html
(2014), cseweb.ucsd.edu/~jmcauley/datasets/amazon_v2 (2018) and amazon-reviews-2023.github.io (2023). Resuming
follows RFC 9110 (Range, If-Range, Content-Range). Needs a POSIX system for the locks.
"""

from ml.data.download.errors import DownloadError, Patience
from ml.data.download.progress import Progress, byte_text
from ml.data.download.releases import RELEASES, check_no_other_reviews, wanted_urls
from ml.data.download.transfer import Fetched, fetch

__all__ = [
    "RELEASES",
    "DownloadError",
    "Fetched",
    "Patience",
    "Progress",
    "byte_text",
    "check_no_other_reviews",
    "fetch",
    "wanted_urls",
]
