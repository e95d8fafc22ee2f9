import pytest
from hypothesis import given
from hypothesis import strategies as st

from authkeys import keys


def test_a_new_key_has_the_documented_shape() -> None:
    key = keys.make()

    assert key.startswith("tsk_")
    assert len(key) == 4 + 30 + 6
    assert key.isascii()
    assert keys.verify(key)


def test_no_two_keys_are_the_same() -> None:
    assert len({keys.make() for _ in range(1000)}) == 1000


@given(st.integers(0, 39), st.sampled_from(keys.ALPHABET))
def test_one_wrong_character_is_noticed(position: int, character: str) -> None:
    key = keys.make()
    mistyped = key[:position] + character + key[position + 1 :]

    assert keys.verify(mistyped) is (mistyped == key)


@given(st.integers(4, 38))
def test_two_characters_swapped_are_noticed(position: int) -> None:
    key = keys.make()
    mistyped = key[:position] + key[position + 1] + key[position] + key[position + 2 :]

    assert keys.verify(mistyped) is (mistyped == key)


@given(st.text())
def test_no_made_up_text_is_a_key(text: str) -> None:
    assert not keys.verify(text)


@pytest.mark.parametrize("spoil", ["{}\n", " {}", "{}0", "tsk_{}", "{}{}"])
def test_a_key_is_taken_to_the_letter(spoil: str) -> None:
    key = keys.make()

    assert not keys.verify(spoil.replace("{}", key))
    assert not keys.verify(key[:-1])
    assert not keys.verify(key.upper())


def test_a_key_splits_into_body_and_checksum() -> None:
    key = keys.make()

    body, checksum = keys.split(key)

    assert body + checksum == key
    assert keys.checksum(body) == checksum


def test_what_is_no_key_does_not_split() -> None:
    with pytest.raises(ValueError, match="shape"):
        keys.split("password")


def test_the_digest_is_sha256() -> None:
    assert keys.digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
