"""Files in the buckets of object storage (S3, Google Cloud Storage, Azure), reached through fsspec.

The libraries that speak to a storage are extras (``pip install 'raw2rank[s3]'``), imported where a URL is used.
"""
