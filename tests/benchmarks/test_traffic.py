"""What the comparison of peers rests on: that the events it decides offline are those it sends, at those offsets."""

from benchmarks.peers.traffic import Events


def test_records_from_an_event_on_are_the_last_ones_with_their_offsets() -> None:
    events = Events(1_000, 3)
    everything = list(events.records())
    assert len(everything) == len(events) >= 1_000
    for partition, end in events.ends().items():
        assert [each.offset for each in everything if each.partition == partition] == list(range(end))
    assert list(events.records(700)) == everything[700:]
    assert events.ends(700) == {each: sum(record.partition == each for record in everything[:700]) for each in range(3)}


def test_the_same_seed_makes_the_same_events_but_for_their_instants() -> None:
    one, other = (
        [(each.key, (each.value or b"").partition(b'"time"')[0]) for each in Events(600, 3, seed).records()]
        for seed in (1, 1)
    )
    assert one == other
