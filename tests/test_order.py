from tests.order import LONG, SLOW, TESTS


def test_what_is_called_slow_is_there() -> None:
    assert [name for name in (*LONG, *SLOW) if not (TESTS / name).exists()] == []
