"""Filters and statistics of images."""

import numpy as np
import tensorflow as tf

from kmnist.pictures.filters import blur, closing, components, maximum, otsu, span


def test_the_span_of_a_mask_is_its_bounding_box() -> None:
    mask = np.zeros((5, 7), bool)
    mask[1, 4] = mask[3, 2] = True
    (top, bottom), (left, right) = span(tf.constant(mask))
    assert [int(end) for end in (top, bottom, left, right)] == [1, 4, 2, 5]


def test_the_span_of_an_empty_mask_is_the_whole_mask() -> None:
    (top, bottom), (left, right) = span(tf.zeros((5, 7), tf.bool))
    assert [int(end) for end in (top, bottom, left, right)] == [0, 5, 0, 7]


def test_maximum_takes_squares_and_rectangles() -> None:
    image = np.zeros((5, 5), np.float32)
    image[2, 2] = 1
    assert maximum(tf.constant(image), 3).numpy().sum() == 9
    row = maximum(tf.constant(image), (1, 3)).numpy()
    assert row[2].tolist() == [0, 1, 1, 1, 0]
    assert row.sum() == 3


def test_blur_ignores_what_lies_outside_of_the_image() -> None:
    image = np.ones((4, 6), np.float32)
    np.testing.assert_allclose(blur(tf.constant(image), 3), image)
    image[0, 0] = 10
    assert blur(tf.constant(image), 3)[0, 0] == (10 + 3) / 4


def test_closing_removes_narrow_dark_lines_only() -> None:
    image = np.ones((9, 20), np.float32)
    image[:, 3] = 0
    image[:, 10:16] = 0
    closed = closing(tf.constant(image), 3).numpy()
    assert closed[:, 3].min() == 1
    assert closed[:, 10:16].max() == 0


def test_otsu_finds_the_means_of_two_classes() -> None:
    values = np.repeat([0.1, 0.12, 0.8, 0.9], [60, 40, 10, 10]).astype(np.float32)
    low, high = otsu(tf.constant(values))
    np.testing.assert_allclose([low, high], [0.108, 0.85], atol=0.02)


def test_connected_components_get_different_labels() -> None:
    mask = np.array(
        [
            [1, 1, 1, 1, 0, 1],
            [0, 0, 0, 0, 0, 1],
            [1, 0, 1, 1, 0, 1],
            [1, 0, 1, 0, 0, 0],
            [1, 1, 0, 0, 1, 1],
        ],
        dtype=bool,
    )
    labels = components(tf.constant(mask)).numpy()
    parts = [np.unique(labels[part]) for part in (np.s_[0, :4], np.s_[:3, 5], np.s_[4, 4:])]
    winding = np.unique(labels[[2, 3, 4, 4, 3, 2, 2], [0, 0, 0, 1, 2, 2, 3]])
    assert [len(part) for part in (*parts, winding)] == [1, 1, 1, 1]
    assert len({0, *np.concatenate([*parts, winding])}) == 5
    assert not labels[~mask].any()
