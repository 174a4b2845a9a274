"""Colours as image files store them (sRGB), and as light (linear): products and mixtures of light are linear.

Source: IEC 61966-2-1, the transfer function of sRGB; glTF 2.0, sections 3.9.2 and 3.9.3, asks for the same.
"""

import numpy as np
from jaxtyping import Float


def linear_from_srgb(colour: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Stored values in [0, 1] as light; 0.5 is 0.2140."""
    colour = np.clip(np.asarray(colour, np.float64), 0, 1)
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(light: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Light in [0, 1] as it is stored; 0.2140 is 0.5."""
    light = np.clip(np.asarray(light, np.float64), 0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def multiply_in_light(first: Float[np.ndarray, "*n 3"], second: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """A surface of one sRGB colour that filters the other; white changes nothing, not even by rounding."""
    if (first == 1).all():
        return second
    if (second == 1).all():
        return first
    product = srgb_from_linear(linear_from_srgb(first) * linear_from_srgb(second))
    return np.where(first == 1, second, np.where(second == 1, first, product)).astype(np.float32)
