"""The same inversion in plain NumPy, in one process: nothing of it comes from the package under test.

Run as a program, it inverts what is in a folder: ``python plain.py FOLDER``.
"""

import sys
from pathlib import Path

import h5py
import numpy as np

ROWS, COLUMNS = 24, 20
SPACING, STEP, STEPS = 1.0e-3, 2.0e-7, 60
RATIO = STEP / SPACING
WEIGHT = 1.0e-10
SHOTS = 5


def border():
    """The receivers: every third point along the edges of the region that is looked at."""
    points = [(row, column) for row in range(4, 20, 3) for column in (3, 16)]
    points += [(row, column) for column in range(5, 16, 3) for row in (3, 20)]
    return np.array(points)


SOURCES = np.array([(4, 4), (4, 14), (12, 3), (19, 6), (18, 15)])
RECEIVERS = border()


def start():
    return np.full((ROWS, COLUMNS), 1500.0)


def truth():
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    vp = start()
    vp += 80.0 * np.exp(-((rows - 10.0) ** 2 + (columns - 12.0) ** 2) / 8.0)
    vp -= 60.0 * np.exp(-((rows - 14.0) ** 2 + (columns - 8.0) ** 2) / 6.0)
    return vp


def pulse(cycles):
    t = np.linspace(0.0, 1.0, STEPS, endpoint=False)
    a = np.square(np.pi * cycles * (t - 1.0 / cycles))
    return (1.0 - 2.0 * a) * np.exp(-a)


def fade(count):
    depth = np.array([max(0, 4 - min(i, count - 1 - i)) for i in range(count)])
    return np.exp(-np.square(0.08 * depth))


SPONGE = np.outer(fade(ROWS), fade(COLUMNS))


def second_differences(u):
    out = -4.0 * u
    out[1:] += u[:-1]
    out[:-1] += u[1:]
    out[:, 1:] += u[:, :-1]
    out[:, :-1] += u[:, 1:]
    return out


def model(vp, source, s, keep=False):
    """What the receivers hear; with ``keep`` the second differences at each step, too."""
    c = np.square(vp * RATIO)
    u0, u1 = np.zeros_like(vp), np.zeros_like(vp)
    heard, kept = [], []
    for sample in s:
        k = second_differences(u1)
        k[source[0], source[1]] += sample
        u0, u1 = SPONGE * u1, SPONGE * (2.0 * u1 - u0 + c * k)
        heard.append(u1[RECEIVERS[:, 0], RECEIVERS[:, 1]])
        if keep:
            kept.append(k)
    return np.array(heard), kept


def gradient(vp, source, s, observed):
    heard, kept = model(vp, source, s, keep=True)
    residual = heard - observed
    c = np.square(vp * RATIO)
    a1, a0, total = np.zeros_like(vp), np.zeros_like(vp), np.zeros_like(vp)
    for r, k in zip(residual[::-1], kept[::-1], strict=True):
        for (row, column), value in zip(RECEIVERS, r, strict=True):
            a1[row, column] += value
        inner = SPONGE * a1
        total += inner * k
        a1 = 2.0 * inner + second_differences(c * inner) + SPONGE * a0
        a0 = -inner
    return 0.5 * np.sum(np.square(residual)), total * 2.0 * vp * RATIO**2


def smoothness(vp):
    down, right = np.diff(vp, axis=0), np.diff(vp, axis=1)
    grad = np.zeros_like(vp)
    grad[1:] += down
    grad[:-1] -= down
    grad[:, 1:] += right
    grad[:, :-1] -= right
    return 0.5 * WEIGHT * (np.sum(down**2) + np.sum(right**2)), WEIGHT * grad


def objective(vp, s, observed):
    loss, grad = smoothness(vp)
    for source, heard in zip(SOURCES, observed, strict=True):
        one, part = gradient(vp, source, s, heard)
        loss, grad = loss + one, grad + part
    return loss, grad


def observe():
    return [model(truth(), source, pulse(3.0))[0] for source in SOURCES]


def invert(observed):
    vp, history = start(), []
    s = pulse(3.0)
    for size in (8.0, 8.0, 5.0):
        loss, grad = objective(vp, s, observed)
        history.append(loss)
        grad[:3] = grad[-3:] = 0.0
        grad[:, :3] = grad[:, -3:] = 0.0
        vp = vp - size * grad / np.max(np.abs(grad))
    return vp, history


def write(folder, name="phantom"):
    """Write the experiment as the older package does, leaving out what its older files leave out."""
    folder = Path(folder)
    with h5py.File(folder / f"{name}-Acquisitions.h5", "w") as file:
        file.attrs["protocol"] = "0.1"
        file.attrs["datetime"] = "2020-01-01 00:00:00"
        file.attrs["is_array"] = False
        shots = file.create_group("shots")
        shots.attrs["is_array"] = True
        shots.attrs["len"] = SHOTS
        for index, (source, heard) in enumerate(zip(SOURCES, observe(), strict=True)):
            shot = shots.create_group(f"shots_{index:08d}")
            shot.attrs["is_array"] = False
            shot.create_dataset("id", data=index)
            for key, value in (("source", source), ("receivers", RECEIVERS), ("observed", heard)):
                shot.create_dataset(key, data=value).attrs["is_ndarray"] = True
    with h5py.File(folder / f"{name}-Vp.h5", "w") as file:
        file.attrs["is_array"] = False
        file.create_dataset("data", data=start()).attrs["is_ndarray"] = True


if __name__ == "__main__":
    with h5py.File(Path(sys.argv[1]) / "phantom-Acquisitions.h5") as file:
        found, losses = invert([shot["observed"][()] for shot in file["shots"].values()])
    np.save(Path(sys.argv[1]) / "plain.npy", found)
    print(*losses)
