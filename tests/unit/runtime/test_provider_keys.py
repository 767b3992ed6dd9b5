"""When the keys of an identity provider are asked for, and what holds while it is away."""

from __future__ import annotations

import asyncio

import pytest
from radbus_runtime.auth.provider_keys import FETCH_EVERY_S, FRESH_S, ProviderAwayError, ProviderKeys


class Provider:
    """An identity provider and the time."""

    def __init__(self, **keys: str) -> None:
        self.keys = keys
        self.away = False
        self.fetches = 0
        self.now = 1000.0
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.asked = asyncio.Event()

    async def fetch(self) -> dict[str, str]:
        self.fetches += 1
        self.asked.set()
        await self.may_answer.wait()
        if self.away:
            raise ProviderAwayError("away")
        return dict(self.keys)

    def client(self) -> ProviderKeys:
        return ProviderKeys(self.fetch, clock=lambda: self.now)


async def test_keys_are_asked_for_once_and_again_when_they_are_no_longer_fresh():
    provider = Provider(a="A")
    keys = provider.client()

    first = [await keys.find("a") for _ in range(3)]
    provider.now += FRESH_S - 1
    still = await keys.find("a")
    asked_while_fresh = provider.fetches
    provider.now += 1
    provider.keys = {"b": "B"}
    after = await keys.find("a")

    assert (first, still, asked_while_fresh) == (["A"] * 3, "A", 1)
    assert (after, provider.fetches) == (None, 2)


async def test_a_key_that_is_not_known_is_asked_for_at_most_once_in_ten_seconds():
    provider = Provider(a="A")
    keys = provider.client()
    await keys.find("a")
    provider.keys["b"] = "B"

    provider.now += FETCH_EVERY_S - 1
    early = [await keys.find(key) for key in ("b", "c", "d")]
    provider.now += 1
    late = [await keys.find(key) for key in ("b", "c", "d")]

    assert early == [None, None, None]
    assert late == ["B", None, None]
    assert provider.fetches == 2


async def test_while_the_provider_is_away_known_keys_are_used_and_others_are_no_wrong_tokens():
    provider = Provider(a="A")
    keys = provider.client()
    await keys.find("a")
    provider.away = True
    provider.now += 10 * FRESH_S

    known = [await keys.find("a") for _ in range(3)]
    with pytest.raises(ProviderAwayError):
        await keys.find("b")
    provider.away = False
    provider.now += FETCH_EVERY_S

    assert known == ["A"] * 3
    assert await keys.find("b") is None
    assert provider.fetches == 3


async def test_a_provider_that_has_never_answered_makes_no_token_wrong():
    provider = Provider()
    provider.away = True
    keys = provider.client()

    for _ in range(2):
        with pytest.raises(ProviderAwayError):
            await keys.find("a")

    assert provider.fetches == 1


async def test_who_knows_the_key_does_not_wait_for_a_slow_provider_and_who_does_not_shares_one_fetch():
    provider = Provider(a="A")
    keys = provider.client()
    await keys.find("a")
    provider.now += FRESH_S
    provider.keys["b"] = "B"
    provider.may_answer.clear()
    provider.asked.clear()

    unknown = [asyncio.create_task(keys.find("b")) for _ in range(5)]
    await provider.asked.wait()
    known = await keys.find("a")
    provider.may_answer.set()

    assert known == "A"
    assert await asyncio.gather(*unknown) == ["B"] * 5
    assert provider.fetches == 2
