from kmnist.client.balancing import RoundRobin


def test_round_robin_leaves_out_what_failed() -> None:
    servers = RoundRobin("abc")
    assert [servers.pick() for _ in range(4)] == ["a", "b", "c", "a"]
    assert servers.failed("b")
    assert [servers.pick() for _ in range(4)] == ["c", "a", "c", "a"]
    servers.failed("a")
    assert not servers.failed("c")
    assert servers.pick() in "abc"
