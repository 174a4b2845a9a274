"""FID's Inception in numpy and float64, written from its definition; it makes the weights that it meets."""

import numpy as np


class Reference:
    """One picture through the network.

    ``shapes_only`` leaves the arithmetic out and follows the channels alone. ``share`` divides all widths.
    """

    def __init__(self, share=1, shapes_only=False, seed=0):
        self.share, self.shapes_only = share, shapes_only
        self.rng, self.state = np.random.default_rng(seed), {}

    def conv(self, x, name, out, side, stride=1, pad=(0, 0)):
        """Convolution without bias, batch normalisation with running statistics, ReLU."""
        height, width = side if isinstance(side, tuple) else (side, side)
        out, size_in = out // self.share, x.shape[2]
        if self.shapes_only:
            self.state[name] = (out, size_in, height, width)
            return np.zeros((1, 1, out))
        weight = self.rng.normal(scale=(2 / (size_in * height * width)) ** 0.5, size=(out, size_in, height, width))
        norm = self.rng.normal(size=(4, out)) * [[0.2], [0.3], [0.2], [0]] + [[1.0], [0.1], [0.0], [0]]
        norm[3] = self.rng.uniform(0.5, 2.0, out)
        self.state[f"{name}.conv.weight"] = weight
        for key, value in zip(("weight", "bias", "running_mean", "running_var"), norm):
            self.state[f"{name}.bn.{key}"] = value
        self.state[f"{name}.bn.num_batches_tracked"] = np.array(1.0)
        x = np.pad(x, [(pad[0], pad[0]), (pad[1], pad[1]), (0, 0)])
        y = sum(window @ weight[:, :, i, j].T for i, j, window in windows(x, height, width, stride))
        gain, shift, mean, variance = norm
        return np.maximum((y - mean) / np.sqrt(variance + 0.001) * gain + shift, 0)

    def max_pool(self, x, stride, pad=0):
        if self.shapes_only:
            return x
        x = np.pad(x, [(pad, pad), (pad, pad), (0, 0)], constant_values=-np.inf)
        return np.max([window for _, _, window in windows(x, 3, 3, stride)], axis=0)

    def mean_pool(self, x):
        if self.shapes_only:
            return x
        x = np.pad(x, [(1, 1), (1, 1), (0, 0)], constant_values=np.nan)
        return np.nanmean([window for _, _, window in windows(x, 3, 3, 1)], axis=0)

    def features(self, image):
        """Picture ``[h, w, 3]`` in [0, 1] -> features."""
        x = 2 * image.astype(np.float64) - 1
        x = self.conv(x, "Conv2d_1a_3x3", 32, 3, 2)
        x = self.conv(x, "Conv2d_2a_3x3", 32, 3)
        x = self.conv(x, "Conv2d_2b_3x3", 64, 3, 1, (1, 1))
        x = self.max_pool(x, 2)
        x = self.conv(x, "Conv2d_3b_1x1", 80, 1)
        x = self.conv(x, "Conv2d_4a_3x3", 192, 3)
        x = self.max_pool(x, 2)
        for name, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
            x = self.block_a(x, f"Mixed_{name}.", pooled)
        x = self.block_b(x, "Mixed_6a.")
        for name, inner in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            x = self.block_c(x, f"Mixed_{name}.", inner)
        x = self.block_d(x, "Mixed_7a.")
        x = self.block_e(x, "Mixed_7b.", self.mean_pool)
        x = self.block_e(x, "Mixed_7c.", lambda y: self.max_pool(y, 1, 1))
        return x.mean((0, 1))

    def block_a(self, x, n, pooled):
        one = self.conv(x, n + "branch1x1", 64, 1)
        five = self.conv(self.conv(x, n + "branch5x5_1", 48, 1), n + "branch5x5_2", 64, 5, 1, (2, 2))
        double = self.conv(x, n + "branch3x3dbl_1", 64, 1)
        double = self.conv(double, n + "branch3x3dbl_2", 96, 3, 1, (1, 1))
        double = self.conv(double, n + "branch3x3dbl_3", 96, 3, 1, (1, 1))
        pool = self.conv(self.mean_pool(x), n + "branch_pool", pooled, 1)
        return np.concatenate([one, five, double, pool], -1)

    def block_b(self, x, n):
        three = self.conv(x, n + "branch3x3", 384, 3, 2)
        double = self.conv(x, n + "branch3x3dbl_1", 64, 1)
        double = self.conv(double, n + "branch3x3dbl_2", 96, 3, 1, (1, 1))
        double = self.conv(double, n + "branch3x3dbl_3", 96, 3, 2)
        return np.concatenate([three, double, self.max_pool(x, 2)], -1)

    def block_c(self, x, n, inner):
        one = self.conv(x, n + "branch1x1", 192, 1)
        seven = self.conv(x, n + "branch7x7_1", inner, 1)
        seven = self.conv(seven, n + "branch7x7_2", inner, (1, 7), 1, (0, 3))
        seven = self.conv(seven, n + "branch7x7_3", 192, (7, 1), 1, (3, 0))
        double = self.conv(x, n + "branch7x7dbl_1", inner, 1)
        for i, (side, pad, out) in enumerate(
            [((7, 1), (3, 0), inner), ((1, 7), (0, 3), inner), ((7, 1), (3, 0), inner), ((1, 7), (0, 3), 192)]
        ):
            double = self.conv(double, f"{n}branch7x7dbl_{i + 2}", out, side, 1, pad)
        pool = self.conv(self.mean_pool(x), n + "branch_pool", 192, 1)
        return np.concatenate([one, seven, double, pool], -1)

    def block_d(self, x, n):
        three = self.conv(self.conv(x, n + "branch3x3_1", 192, 1), n + "branch3x3_2", 320, 3, 2)
        long = self.conv(x, n + "branch7x7x3_1", 192, 1)
        long = self.conv(long, n + "branch7x7x3_2", 192, (1, 7), 1, (0, 3))
        long = self.conv(long, n + "branch7x7x3_3", 192, (7, 1), 1, (3, 0))
        long = self.conv(long, n + "branch7x7x3_4", 192, 3, 2)
        return np.concatenate([three, long, self.max_pool(x, 2)], -1)

    def block_e(self, x, n, pool):
        one = self.conv(x, n + "branch1x1", 320, 1)
        three = self.conv(x, n + "branch3x3_1", 384, 1)
        left = self.conv(three, n + "branch3x3_2a", 384, (1, 3), 1, (0, 1))
        right = self.conv(three, n + "branch3x3_2b", 384, (3, 1), 1, (1, 0))
        double = self.conv(x, n + "branch3x3dbl_1", 448, 1)
        double = self.conv(double, n + "branch3x3dbl_2", 384, 3, 1, (1, 1))
        first = self.conv(double, n + "branch3x3dbl_3a", 384, (1, 3), 1, (0, 1))
        second = self.conv(double, n + "branch3x3dbl_3b", 384, (3, 1), 1, (1, 0))
        pooled = self.conv(pool(x), n + "branch_pool", 192, 1)
        return np.concatenate([one, left, right, first, second, pooled], -1)


def windows(x, height, width, stride):
    """For each tap of a window its row, column and the pixels under it."""
    rows, columns = (x.shape[0] - height) // stride + 1, (x.shape[1] - width) // stride + 1
    for i in range(height):
        for j in range(width):
            yield i, j, x[i : i + rows * stride : stride, j : j + columns * stride : stride][:rows, :columns]
