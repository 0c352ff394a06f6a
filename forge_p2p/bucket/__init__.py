"""Object stores: S3 and what is like it, a shared folder, memory."""

from forge_p2p.bucket.base import Bucket

__all__ = ["Bucket"]
