"""Who gets a place, and who has to make room."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from sealserve.errors import OverloadedError
from sealserve.keyservice.admission import Admission
from sealserve.keyservice.limits import Limits

ONE, OTHER = b"\xc0\0\2\1", b"\xc0\0\2\2"


@dataclass(eq=False)
class Guest:
    is_asking: bool = False


def admission(**limits):
    return Admission(Limits(**limits))


def enter(places, source, number=1, now=0.0, **options):
    guests = [Guest(**options) for _ in range(number)]
    for guest in guests:
        assert places.enter(guest, source, now) is None
    return guests


def code_of(act):
    with pytest.raises(OverloadedError) as caught:
        act()
    return caught.value.code


def test_a_source_has_so_many_places_and_others_have_theirs():
    places = admission(max_sessions_per_source=2)
    first, _ = enter(places, ONE, 2)
    assert code_of(lambda: places.enter(Guest(), ONE, 0.0)) == "overloaded.source-sessions"
    enter(places, OTHER, 2)
    places.leave(first)
    enter(places, ONE)
    assert len(places) == 4


def test_a_source_without_tokens_is_told_when_it_has_one_and_is_served_then():
    places = admission(connections_per_second_per_source=0.5, connections_burst_per_source=3)
    for guest in enter(places, ONE, 3):
        places.leave(guest)
    with pytest.raises(OverloadedError) as caught:
        places.enter(Guest(), ONE, 0.0)
    assert caught.value.code == "overloaded.source-rate"
    assert 0 < caught.value.retry_after <= 2
    enter(places, OTHER)
    enter(places, ONE, now=caught.value.retry_after)


def test_where_all_places_are_taken_the_oldest_who_has_not_asked_makes_room():
    places = admission(max_sessions=3)
    done, oldest, younger = (enter(places, source)[0] for source in (ONE, OTHER, ONE))
    done.is_asking = True
    assert places.enter(Guest(), OTHER, 0.0) is oldest
    assert places.enter(Guest(), OTHER, 0.0) is younger
    assert len(places) == 3


def test_nobody_whose_request_is_whole_makes_room():
    places = admission(max_sessions=2)
    guests = enter(places, ONE, 2)
    for guest in guests:
        guest.is_asking = True
    for _ in range(3):
        assert code_of(lambda: places.enter(Guest(), OTHER, 0.0)) == "overloaded.sessions"
    places.leave(guests[0])
    enter(places, OTHER)


def test_whoever_made_room_counts_no_longer_and_may_leave_again():
    places = admission(max_sessions=1, max_sessions_per_source=1)
    (first,) = enter(places, ONE)
    assert places.enter(Guest(), OTHER, 0.0) is first
    places.leave(first)
    assert len(places) == 1
    assert places.enter(Guest(), ONE, 0.0) is not None


def test_a_refused_newcomer_holds_no_place():
    places = admission(max_sessions_per_source=1)
    enter(places, ONE)
    guest = Guest()
    assert code_of(lambda: places.enter(guest, ONE, 0.0)) == "overloaded.source-sessions"
    places.leave(guest)
    assert len(places) == 1


def test_behind_a_proxy_a_source_counts_once_it_is_known():
    places = admission(max_sessions_per_source=1)
    first, second = enter(places, None, 2)
    places.identify(first, ONE, 0.0)
    assert code_of(lambda: places.identify(second, ONE, 0.0)) == "overloaded.source-sessions"
    places.leave(second)
    places.leave(first)
    enter(places, ONE)
    assert len(places) == 1


def test_a_crowd_of_many_sources_leaves_nothing_behind():
    places = admission(max_sessions=100)
    for number in range(10_000):
        guest = Guest()
        places.enter(guest, number.to_bytes(4), 0.0)
        if number % 3 == 0:
            places.leave(guest)
    assert len(places) == len(places._open) == len(places._young) <= 100


def test_the_defaults_let_a_thousand_enclaves_behind_one_address_start_in_ten_seconds():
    places, open_guests = Admission(Limits()), []
    for number in range(1000):
        now = number / 100
        if len(open_guests) == 300:  # three seconds for each
            places.leave(open_guests.pop(0))
        open_guests += enter(places, ONE, now=now)
