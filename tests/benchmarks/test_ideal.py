"""The ideal queue, against what is known of queues."""

import random
from statistics import fmean

import pytest
from ideal import poisson_arrivals, responses_s


def test_a_lone_request_takes_its_service_time():
    """Nothing is added."""
    assert [0.5] == responses_s([1.0], [0.5], servers=2)


def test_the_third_of_three_waits_for_the_first_server_that_is_free():
    """In order of arrival, with two servers."""
    assert [3.0, 1.0, 2.0] == responses_s([0.0, 0.0, 0.0], [3.0, 1.0, 1.0], servers=2)


def test_service_times_begin_again():
    """As the sizes of the texts do."""
    assert [1.0, 2.0, 1.0, 2.0] == responses_s([0, 10, 20, 30], [1.0, 2.0], servers=1)


def test_two_servers_do_what_the_theory_says():
    """M/M/2 at a load of 0.6: the mean response is the mean service over 1 - load squared."""
    source = random.Random(7)
    arrivals_s = poisson_arrivals(rate_per_s=1.2, seconds=200_000, seed=3)
    services_s = [source.expovariate(1.0) for _ in arrivals_s]

    assert pytest.approx(1 / (1 - 0.6**2), rel=0.02) == fmean(responses_s(arrivals_s, services_s, servers=2))


def test_arrivals_are_as_many_as_asked_and_the_same_again():
    """The generator and the ideal queue see one schedule."""
    arrivals_s = poisson_arrivals(100, 100, seed=1)

    assert pytest.approx(10_000, rel=0.05) == len(arrivals_s)
    assert arrivals_s == poisson_arrivals(100, 100, seed=1) == sorted(arrivals_s)
