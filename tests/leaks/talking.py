"""Whether captures of people's lines tell who talks.

    python talking.py [--at-most 55 | --at-least 90] FOLDER CAPTURE...
                            FOLDER/CAPTURE.pcap beside FOLDER/turns.json, as `network-check --captures` writes them

For each capture: sizes of packets and the time between them, while its member talks and while another does. Then how well
classifiers tell windows of talking from windows of listening, and whole turns by a vote of their windows, trained on some stretches of
turns and asked about others: of all lines together, and of each alone. 50 % is a coin; how far luck alone goes from there is found by
asking the same of turns that are dealt out anew among those who talked. Ends with 1 if a classifier is right in fewer (a control) of the
windows and turns of all lines than is said; or in more (a circle) of the windows, or in three standard deviations more of windows or
turns than by luck; or if luck goes too far to say that.
"""

import argparse
import json
import os
import struct
import sys
from pathlib import Path

# Threads wait for each other longer than so few windows take one of them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

WINDOW = 1.0
# Turns begin and end with a word or two of the protocol; what those show counts too, so little is left out.
EDGE = 0.1
FOLDS = 5
GROUP = 8
TICK = 0.02
LAGS = 10
BIN = 0.1
# Largest payload of a UDP packet on these lines (1,500 with headers), and that of a cell's.
LARGEST, CELL = 1_472, 1_200
# How often turns are dealt out anew, and the standard deviation, in per cent, above which it cannot be said that a circle's lines show
# nothing: that of ten minutes is 1.1 to 1.8.
DEALT = 20
SURE = 2.5
# A clock's own drift is slower than this.
STEADY = 15.0

KINDS = {
    "forest": RandomForestClassifier(100, min_samples_leaf=3, random_state=1, n_jobs=-1),
    "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=2_000)),
    "boosting": HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=8, min_samples_leaf=5, random_state=1),
}


def packets(path):
    """Time, whether it went out (from the address that the first packet came from), and size of UDP payloads."""
    data = path.read_bytes()
    at, rows, own = 24, [], None
    while at + 16 <= len(data):
        seconds, micros, length, _ = struct.unpack_from("<IIII", data, at)
        frame = data[at + 16 : at + 16 + length]
        at += 16 + length
        if frame[12:14] != b"\x08\x00" or len(frame) < 42 or frame[23] != 17:
            continue
        ip = 14 + (frame[14] & 15) * 4
        own = own or frame[26:30]
        size = struct.unpack_from(">H", frame, ip + 4)[0] - 8
        # What is larger than a packet can be is several that were captured before the system took them apart.
        sizes = [size] if size <= LARGEST or size % CELL else [CELL] * (size // CELL)
        rows += [(seconds + micros / 1e6, frame[26:30] == own, each) for each in sizes]
    return np.array(rows)


class Way:
    """The packets of one direction."""

    def __init__(self, rows):
        self.times, self.sizes = rows[:, 0], rows[:, 2]
        # Where each falls between two strokes of the line's clock, as a point on a circle; summed up.
        since = self.times - self.times[:1].sum()
        a_tick = max(1, round(len(since) * TICK / since.max(initial=TICK)))
        self.stroke = TICK / a_tick
        self.points = np.concatenate([[0], np.cumsum(np.exp(2j * np.pi * since / self.stroke))])

    def between(self, begin, end):
        return slice(*np.searchsorted(self.times, [begin, end]))

    def lateness(self, begin, end):
        """How much later than around this time packets come after the clock's strokes, and how much alike."""
        part = self.between(begin, end)
        around = self.between(begin - STEADY, end + STEADY)
        here, there = (self.points[s.stop] - self.points[s.start] for s in (part, around))
        return np.angle(here * np.conj(there)) * self.stroke, abs(here) / max(part.stop - part.start, 1)

    def features(self, begin, end):
        part = self.between(begin, end)
        times, sizes = self.times[part], self.sizes[part]
        count = len(times)
        gaps, sizes = np.diff(times) if count > 1 else np.zeros(1), sizes if count else np.zeros(1)
        found = [count, sizes.sum(), sizes.mean(), sizes.std(), sizes.min(), sizes.max()]
        found += [gaps.mean(), gaps.std(), *np.percentile(gaps, [1, 10, 25, 50, 75, 90, 99]), gaps.max()]
        found += [np.mean(gaps < 0.002), np.mean(gaps > 0.03), np.abs(np.diff(gaps)).mean() if len(gaps) > 1 else 0.0]
        # How much a gap is like those 1 to 10 before it.
        other = gaps - gaps.mean()
        power = (other**2).sum() or 1.0
        found += [(other[lag:] * other[:-lag]).sum() / power for lag in range(1, LAGS + 1)]
        bins = np.bincount(((times - begin) / BIN).astype(int), minlength=round((end - begin) / BIN))
        return [*found, bins.var() / max(bins.mean(), 1e-9), bins.max(), *self.lateness(begin, end)]


def features(out, back, begin, end):
    """What a window shows: each direction, and the time from each packet in to the next one out."""
    ins = back.times[back.between(begin, end)]
    following = np.searchsorted(out.times, ins)
    ins, following = ins[following < len(out.times)], following[following < len(out.times)]
    waits = out.times[following] - ins if len(ins) else np.zeros(1)
    spread = [waits.mean(), waits.std(), *np.percentile(waits, [5, 25, 50, 75, 95])]
    return [*out.features(begin, end), *back.features(begin, end), *spread]


def look(folder, name, member, turns):
    """Windows of this capture: features, the number of the turn that they are of, and whose line it is."""
    rows = packets(folder / f"{name}.pcap")
    if not len(rows):
        sys.exit(f"talking.py: nothing in {name}.pcap")
    out, back = (Way(rows[rows[:, 1] == way]) for way in (1, 0))
    windows, numbers = [], []
    for number, turn in enumerate(turns):
        at = turn["from"] + EDGE
        while at + WINDOW <= turn["to"] - EDGE:
            windows.append(features(out, back, at, at + WINDOW))
            numbers.append(number)
            at += WINDOW
    for talking in (True, False):
        chosen = np.zeros(len(rows), bool)
        for turn in (t for t in turns if (t["member"] == member) == talking):
            chosen |= (rows[:, 0] >= turn["from"]) & (rows[:, 0] < turn["to"])
        for way in (1, 0):
            some = rows[chosen & (rows[:, 1] == way)]
            if len(some) < 2:
                continue
            gaps = 1e3 * np.diff(some[:, 0])
            gaps = gaps[gaps < 1_000]
            print(
                f"  {name:<10} {'talking  ' if talking else 'listening'} {'out' if way else 'in '} sizes "
                f"{sorted(set(some[:, 2].astype(int).tolist()))[:6]}  between packets: median {np.median(gaps):.2f} ms, "
                f"spread (5–95 %) {np.percentile(gaps, 95) - np.percentile(gaps, 5):.2f} ms, {len(some)} packets"
            )
    # Each line by its own measure, so that lines can be put together.
    windows = np.array(windows)
    spread = windows.std(axis=0)
    windows = (windows - windows.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return windows, np.array(numbers), np.full(len(numbers), member)


def right(chances, labels, folds):
    """How much of either kind is told right, in per cent, if of each fold as much is said to be talking as is of the others."""
    said = np.zeros(len(labels), bool)
    for fold in np.unique(folds):
        asked = folds == fold
        said[asked] = chances[asked] > np.quantile(chances[asked], 1 - labels[~asked].mean())
    return 100 * balanced_accuracy_score(labels, said)


def ask(model, speakers, windows, numbers, members):
    """What the model tells right of windows, and of turns, and the area under its curve."""
    labels = speakers[numbers] == members
    stretches = numbers // GROUP
    chances, folds = np.zeros(len(labels)), np.zeros(len(labels), int)
    splits = GroupKFold(min(FOLDS, len(set(stretches)))).split(windows, labels, stretches)
    for fold, (learnt, asked) in enumerate(splits):
        folds[asked] = fold
        # Of somebody who never talks nothing can be learnt.
        if len(set(labels[learnt])) == 2:
            chances[asked] = model.fit(windows[learnt], labels[learnt]).predict_proba(windows[asked])[:, 1]
    both = [f for f in np.unique(folds) if len(set(labels[folds == f])) == 2]
    area = np.mean([roc_auc_score(labels[folds == f], chances[folds == f]) for f in both] or [0.5])
    # A turn of a line is as likely talking as its windows are on average.
    _, first, of = np.unique(np.stack([numbers, members]), axis=1, return_index=True, return_inverse=True)
    votes = np.bincount(of.ravel(), weights=chances) / np.bincount(of.ravel())
    return right(chances, labels, folds), right(votes, labels[first], folds[first]), area


def dealt(speakers, generator):
    """Turns dealt out anew within each round, where everybody has one."""
    rounds = np.arange(len(speakers)) // len(set(speakers))
    return speakers[np.lexsort((generator.random(len(speakers)), rounds))]


def main():
    asks = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asks.add_argument("--at-most", type=float, default=100.0)
    asks.add_argument("--at-least", type=float, default=0.0)
    asks.add_argument("folder", type=Path)
    asks.add_argument("captures", nargs="+")
    args = asks.parse_args()
    turns = json.loads((args.folder / "turns.json").read_text())
    speakers = np.array([turn["member"] for turn in turns])
    lines = []
    for name in args.captures:
        member = int("".join(c for c in name if c.isdigit()) or 0)
        lines.append(look(args.folder, name, member, turns))
    whole = [np.concatenate(part) for part in zip(*lines)]
    talking = speakers[whole[1]] == whole[2]
    if not 0 < talking.sum() < len(talking) or len(set(whole[1] // GROUP)) < 2:
        sys.exit("talking.py: too little was captured, or nobody talked")
    print(f"  {len(talking)} windows of {WINDOW} s, {talking.sum()} of talking, of {len(turns)} turns")
    wrong = False
    for kind, model in KINDS.items():
        windows, votes, area = ask(model, speakers, *whole)
        generator = np.random.default_rng(1)
        anew = [ask(model, dealt(speakers, generator), *whole)[:2] for _ in range(DEALT)]
        (luck, luck_votes), (far, far_votes) = np.mean(anew, axis=0), np.std(anew, axis=0, ddof=1)
        is_circle = args.at_most < 100
        most = min(args.at_most, luck + 3 * far) if is_circle else 100
        most_votes = luck_votes + 3 * far_votes if is_circle else 100
        is_unsure = is_circle and far > SURE
        is_wrong = is_unsure or not (args.at_least <= windows <= most and args.at_least <= votes <= most_votes)
        alone = [f"{ask(model, speakers, *line)[0]:.1f}" for line in lines]
        print(
            f"{'✘' if is_wrong else ' ':>3} {kind:<8} tells {windows:.1f} % of windows right ({args.at_least:g} to {most:.1f} may be; luck: "
            f"{luck:.1f} ± {far:.1f}{', too much to tell' if is_unsure else ''}),\n"
            f"               {votes:.1f} % of turns ({args.at_least:g} to {most_votes:.1f}; luck: {luck_votes:.1f} ± {far_votes:.1f}); area under the curve {area:.3f};\n"
            f"               of each line alone {', '.join(alone)} % of windows"
        )
        wrong |= bool(is_wrong)
    sys.exit(int(wrong))


main()
