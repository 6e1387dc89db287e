"""Open things wait for the next user, one at a time, and not too many of them."""

from compress.speech.kept_open import KeptOpen


class Opened:
    def __init__(self, name: str) -> None:
        self.name, self.closed = name, False

    def close(self) -> None:
        self.closed = True


def test_what_is_put_back_is_had_again_by_one_at_a_time() -> None:
    kept: KeptOpen[Opened] = KeptOpen(2)
    assert kept.take(lambda _: True) is None
    one, other, third = map(Opened, ("one", "other", "third"))
    kept.put(one)
    kept.put(other)
    assert kept.take(lambda opened: opened.name == "one") is one
    assert kept.take(lambda opened: opened.name == "one") is None
    kept.put(one)
    kept.put(third)
    assert [opened.closed for opened in (one, other, third)] == [False, True, False]
    assert kept.take(lambda _: True) is third


def test_all_that_nobody_has_in_hand_is_closed() -> None:
    kept: KeptOpen[Opened] = KeptOpen(2)
    one, other = Opened("one"), Opened("other")
    kept.put(one)
    kept.put(other)
    kept.take(lambda opened: opened is other)
    kept.close()
    assert (one.closed, other.closed) == (True, False)
    assert kept.take(lambda _: True) is None
