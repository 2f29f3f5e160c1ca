"""Load balancing over several servers."""

from kmnist.client.balancing import RoundRobin


def test_members_are_picked_in_turn() -> None:
    servers = RoundRobin("abc")
    assert servers.members == ("a", "b", "c")
    assert [servers.pick() for _ in range(4)] == ["a", "b", "c", "a"]


def test_members_that_failed_are_skipped_while_others_are_left() -> None:
    servers = RoundRobin("abc")
    assert servers.failed("b")
    assert [servers.pick() for _ in range(4)] == ["a", "c", "a", "c"]
    servers.failed("a")
    assert not servers.failed("c")
    assert len({servers.pick() for _ in range(3)}) == 3


def test_a_single_member_is_picked_even_after_it_failed() -> None:
    servers = RoundRobin("a")
    assert not servers.failed("a")
    assert servers.pick() == "a"
