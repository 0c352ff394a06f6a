"""What befalls requests on their way, and what becomes of them: behind a proxy that does harm, in front of a real
server."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from forge_p2p.bucket.base import Bucket
from forge_p2p.bucket.cdn import CdnBucket
from forge_p2p.bucket.faults import Passing
from forge_p2p.bucket.objects import ObjectBucket
from forge_p2p.bucket.opening import open_bucket
from forge_p2p.bucket.racing import require_one_winner
from forge_p2p.bucket.retrying import TRIES, RetryingBucket
from forge_p2p.config import EdgeConfig
from forge_p2p.errors import BucketError, BucketRefused, DiskFull, NoSuchObject
from tests.bucket import servers
from tests.bucket.faults import Fault, FaultProxy

SECRET = servers.KEYS["AWS_SECRET_ACCESS_KEY"]


class Behind:
    """A bucket behind a proxy, whose pauses take no time and are written down."""

    def __init__(self, config: EdgeConfig, proxy: FaultProxy) -> None:
        self.config = config
        self.proxy = proxy
        self.pauses: list[float] = []
        inner = open_bucket(config).origin
        assert isinstance(inner, RetryingBucket)
        self.bucket = RetryingBucket(inner._inner, pause=self.pauses.append, chance=lambda: 1.0)

    def meet(self, method: str, *faults: Fault) -> None:
        """Lets these befall the next requests of a method."""
        for fault in faults:
            fault.wanted = lambda asked, path: asked == method
        self.proxy.faults = list(faults)

    def asked(self, method: str) -> int:
        return sum(1 for seen, _ in self.proxy.seen if seen == method)


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    with servers.behind_faults(tmp_path) as (config, proxy):
        yield Behind(config, proxy)


PASSING = {
    "429": Fault(status=429),
    "503": Fault(status=503, code="SlowDown"),
    "500": Fault(status=500),
    "502": Fault(status=502),
    "cut before": Fault(cut=-1),
    "cut within": Fault(cut=3),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_is_asked_again(behind: Behind, fault: Fault) -> None:
    behind.bucket.put_if_absent("blobs/aa/bb", b"content")
    behind.meet("GET", replace(fault, times=3))
    assert behind.bucket.get("blobs/aa/bb") == b"content"
    assert behind.pauses == [0.2, 0.4, 0.8]
    behind.meet("GET", replace(fault, times=1))
    assert bytes(behind.bucket.get_range("blobs/aa/bb", 2, 4)) == b"nten"


def test_it_is_not_asked_for_ever(behind: Behind) -> None:
    behind.meet("GET", Fault(status=503, times=100))
    with pytest.raises(Passing, match=r"blobs/aa/bb in s3://forge.*503"):
        behind.bucket.get("blobs/aa/bb")
    assert behind.asked("GET") == TRIES


FINAL = {
    "wrong key": (403, "InvalidAccessKeyId", BucketRefused, "the access key is not known"),
    "wrong secret": (403, "SignatureDoesNotMatch", BucketRefused, "the secret key is wrong"),
    "expired": (400, "ExpiredToken", BucketRefused, "the credentials have expired"),
    "clock": (403, "RequestTimeTooSkewed", BucketRefused, "this machine's clock is wrong"),
    "no right": (403, "AccessDenied", BucketRefused, "access denied"),
    "unsaid": (403, "Whatever", BucketRefused, "403"),
    "no bucket": (404, "NoSuchBucket", BucketRefused, "there is no such bucket"),
    "quota": (403, "QuotaExceeded", DiskFull, "the bucket is full"),
    "full": (507, "Whatever", DiskFull, "the bucket is full"),
    "nonsense": (418, "Whatever", BucketError, "418"),
}


@pytest.mark.parametrize(("status", "code", "kind", "words"), FINAL.values(), ids=FINAL)
@pytest.mark.parametrize("method", ["PUT", "GET", "LIST"])
def test_what_does_not_pass_is_said_at_once(
    behind: Behind, method: str, status: int, code: str, kind: type[BucketError], words: str
) -> None:
    calls: dict[str, Callable[[Bucket], object]] = {
        "PUT": lambda bucket: bucket.put_if_absent("blobs/aa/bb", b"x"),
        "GET": lambda bucket: bucket.get("blobs/aa/bb"),
        "LIST": lambda bucket: list(bucket.list("blobs/")),
    }
    behind.meet("PUT" if method == "PUT" else "GET", Fault(status=status, code=code, times=100))
    with pytest.raises(kind, match=words) as caught:
        calls[method](behind.bucket)
    assert "s3://forge" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert caught.value.hint
    assert behind.pauses == []
    assert len(behind.proxy.seen) == 1


def test_missing_is_an_answer(behind: Behind) -> None:
    with pytest.raises(NoSuchObject):
        behind.bucket.get("blobs/aa/bb")
    assert behind.pauses == []


# Conditional writes whose outcome is not known


@pytest.mark.parametrize("fault", [Fault(cut=-1), Fault(status=500, after=True), Fault(status=502, after=True)])
def test_a_write_that_came_through_unheard_counts(behind: Behind, fault: Fault) -> None:
    behind.meet("PUT", replace(fault))
    assert behind.bucket.put_if_absent("index/0000000000000001", b"mine")
    assert behind.asked("PUT") == 1, "it was looked at, not written again"


def test_a_write_that_did_not_come_through_is_written_again(behind: Behind) -> None:
    behind.meet("PUT", Fault(status=500))
    assert behind.bucket.put_if_absent("index/0000000000000001", b"mine")
    assert behind.asked("PUT") == 2
    assert behind.bucket.get("index/0000000000000001") == b"mine"


def test_a_write_of_unknown_outcome_that_another_won_is_lost(behind: Behind) -> None:
    open_bucket(replace(behind.config, endpoint=behind.proxy.upstream)).origin.put_if_absent("index/1", b"theirs")
    behind.meet("PUT", Fault(status=500))
    assert not behind.bucket.put_if_absent("index/1", b"mine")
    assert behind.bucket.get("index/1") == b"theirs"


@pytest.mark.parametrize("status", [409, 412])
def test_lost_is_an_answer(behind: Behind, status: int) -> None:
    behind.bucket.put_if_absent("index/1", b"theirs")
    behind.meet("PUT", Fault(status=status, times=100))
    assert not behind.bucket.put_if_absent("index/1", b"mine")
    assert behind.pauses == []


def test_a_place_that_lets_two_win_is_refused(behind: Behind) -> None:
    class TwoWin(RetryingBucket):
        def put_if_absent(self, key: str, data: bytes | memoryview) -> bool:
            super().put_if_absent(key, data)
            return True

    with pytest.raises(BucketRefused, match="9 were told"):
        require_one_winner(TwoWin(behind.bucket))


# A CDN in front


def behind_cdn(behind: Behind) -> tuple[CdnBucket, list[float]]:
    from obstore.store import HTTPStore

    clock = [0.0]
    store = HTTPStore.from_url(
        f"{behind.proxy.address}/cdn", client_options={"allow_http": True}, retry_config={"max_retries": 0}
    )
    origin = open_bucket(replace(behind.config, endpoint=behind.proxy.upstream)).origin
    return CdnBucket(origin, ObjectBucket(store, "the CDN"), lambda: clock[0]), clock


@pytest.mark.parametrize(
    "fault", [Fault(status=404), Fault(status=500), Fault(status=403), Fault(cut=-1), Fault(cut=3)]
)
def test_what_the_cdn_does_not_give_comes_from_the_bucket(behind: Behind, fault: Fault) -> None:
    bucket, _ = behind_cdn(behind)
    bucket.put_if_absent("blobs/aa/bb", b"content")
    behind.proxy.faults = [replace(fault, times=100)]
    assert bucket.get("blobs/aa/bb") == b"content"
    assert bytes(bucket.get_range("blobs/aa/bb", 1, 3)) == b"ont"


def test_a_cdn_that_fails_is_left_alone_for_a_while(behind: Behind) -> None:
    bucket, clock = behind_cdn(behind)
    bucket.put_if_absent("blobs/aa/bb", b"content")
    behind.proxy.faults = [Fault(status=500, times=100)]
    for now, asked in [(0.0, 1), (10.0, 1), (29.0, 1), (31.0, 2)]:
        clock[0] = now
        assert bucket.get("blobs/aa/bb") == b"content"
        assert len(behind.proxy.seen) == asked


def test_records_never_come_through_the_cdn(behind: Behind) -> None:
    bucket, _ = behind_cdn(behind)
    bucket.put_if_absent("index/0000000000000001", b"a record")
    assert bucket.get("index/0000000000000001") == b"a record"
    assert [meta.key for meta in bucket.list("index/")] == ["index/0000000000000001"]
    assert behind.proxy.seen == []
