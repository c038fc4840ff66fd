"""The token bucket."""

import threading

from handler.network.aws.rate_limit import TokenBucket


class Clock:
    """Goes on when told to."""

    now = 1000.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def taken(bucket: TokenBucket, tries: int) -> int:
    """Return how many of so many tries got a token."""
    return sum(bucket.take() for _ in range(tries))


def test_so_many_at_once_and_so_many_a_second() -> None:
    """The burst first, then the rate, and never more than the burst saved up."""
    clock = Clock()
    bucket = TokenBucket(5.0, 20, clock)
    assert taken(bucket, 100) == 20
    clock.now += 1.0
    assert taken(bucket, 100) == 5
    clock.now += 0.1
    assert taken(bucket, 100) == 0
    clock.now += 3600.0
    assert taken(bucket, 100) == 20


def test_what_is_given_back_can_be_taken_again_up_to_the_burst() -> None:
    """Giving back more than was taken makes no more than a full bucket."""
    bucket = TokenBucket(5.0, 3, Clock())
    assert taken(bucket, 3) == 3
    bucket.give_back(2)
    assert taken(bucket, 9) == 2
    bucket.give_back(50)
    assert taken(bucket, 9) == 3


def test_a_clock_that_is_set_back_does_no_harm() -> None:
    """Nothing is gained, nothing is lost, and it goes on from there."""
    clock = Clock()
    bucket = TokenBucket(1.0, 2, clock)
    assert taken(bucket, 1) == 1
    clock.now -= 500.0
    assert taken(bucket, 9) == 1
    clock.now += 1.0
    assert taken(bucket, 9) == 1


def test_threads_share_it() -> None:
    """No token is given twice."""
    bucket, got = TokenBucket(1.0, 50, Clock()), []
    threads = [threading.Thread(target=lambda: got.append(taken(bucket, 20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) == 50
