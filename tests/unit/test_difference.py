"""What a word did: exact where it can be said in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from studio.errors import StudioError
from studio.viewer.difference import difference


def grey(value: int) -> np.ndarray:
    return np.full((64, 64, 3), value, np.uint8)


def test_equal_pictures_show_mid_grey_and_say_so() -> None:
    found = difference(grey(90), grey(90))
    assert (found.picture == 128).all()
    assert found.shares == (0.0,) * 5
    assert found.sentence("fog") == [("“fog” changed nothing that can be seen.", True)]


def test_another_brightness_is_all_composition() -> None:
    found = difference(grey(140), grey(90))
    assert found.shares == (100.0, 0.0, 0.0, 0.0, 0.0)
    assert (found.mean, found.changed, found.gain) == (50.0, 100.0, 2.5)
    assert (found.picture == 253).all()
    assert "".join(text for text, _ in found.sentence("noon")) == (
        "“noon” changed 100 % of the picture. 100 % of that is composition."
    )


def test_a_chequerboard_of_pixels_is_all_grain() -> None:
    board = grey(128)
    board[::2, ::2] += 20
    board[1::2, 1::2] += 20
    board[::2, 1::2] -= 20
    board[1::2, ::2] -= 20
    found = difference(board, grey(128))
    assert found.shares[-1] > 85  # db2 is no ideal filter; its finest level takes nearly all of it
    assert "grain" in "".join(text for text, _ in found.sentence("sand"))


def test_a_small_change_is_named_as_such() -> None:
    dotted = grey(100)
    dotted[:4, :4] = 200
    found = difference(dotted, grey(100))
    assert found.changed == pytest.approx(100 * 16 / 4096)
    assert found.sentence("star")[0] == ("“star” changed under 1 % of the picture. ", False)


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(StudioError, match="different sizes"):
        difference(grey(1), grey(1)[:32])
