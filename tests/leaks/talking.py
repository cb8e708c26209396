"""Whether captures of people's lines tell who talks.

    python talking.py FOLDER CAPTURE...     FOLDER/CAPTURE.pcap beside FOLDER/turns.json, as `network-check --captures` writes them

For each capture: sizes of packets and the time between them, while its member talks and while another does; then how well
classifiers tell windows of talking from windows of listening, trained on some turns and asked about others. 50 % is a coin.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

WINDOW = 1.0
# Turns begin and end with a word or two of the protocol; what those show counts too, so little is left out.
EDGE = 0.1
FOLDS = 5
GROUP = 8


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
        rows.append((seconds + micros / 1e6, frame[26:30] == own, size))
    return np.array(rows)


def features(rows):
    """What a window shows, in each direction."""
    found = []
    for out in (1, 0):
        one = rows[rows[:, 1] == out]
        gaps, sizes = np.diff(one[:, 0]) if len(one) > 1 else np.zeros(1), one[:, 2] if len(one) else np.zeros(1)
        found += [len(one), sizes.sum(), sizes.mean(), sizes.std(), sizes.min(), sizes.max()]
        found += [gaps.mean(), gaps.std(), *np.percentile(gaps, [1, 10, 25, 50, 75, 90, 99]), gaps.max()]
        found += [np.mean(gaps < 0.002), np.mean(gaps > 0.03), np.abs(np.diff(gaps)).mean() if len(gaps) > 1 else 0.0]
    return found


def look(folder, name, member, turns):
    """Windows of this capture: features, talking or not, and which stretch of turns they are of."""
    rows = packets(folder / f"{name}.pcap")
    windows, labels, groups = [], [], []
    for number, turn in enumerate(turns):
        at = turn["from"] + EDGE
        while at + WINDOW <= turn["to"] - EDGE:
            inside = rows[(rows[:, 0] >= at) & (rows[:, 0] < at + WINDOW)]
            windows.append(features(inside))
            labels.append(turn["member"] == member)
            groups.append(number // GROUP)
            at += WINDOW
    for talking in (True, False):
        chosen = np.zeros(len(rows), bool)
        for turn in (t for t in turns if (t["member"] == member) == talking):
            chosen |= (rows[:, 0] >= turn["from"]) & (rows[:, 0] < turn["to"])
        for out in (1, 0):
            some = rows[chosen & (rows[:, 1] == out)]
            if not len(some):
                continue
            gaps = 1e3 * np.diff(some[:, 0])
            gaps = gaps[gaps < 1_000]
            print(
                f"  {name:<10} {'talking  ' if talking else 'listening'} {'out' if out else 'in '} sizes "
                f"{sorted(set(some[:, 2].astype(int)))[:6]}  between packets: median {np.median(gaps):.2f} ms, "
                f"spread (5–95 %) {np.percentile(gaps, 95) - np.percentile(gaps, 5):.2f} ms, {len(some)} packets"
            )
    return np.array(windows), np.array(labels), np.array(groups)


def score(windows, labels, groups):
    """Balanced accuracy on turns that were not learnt from, of the best kind of classifier."""
    kinds = {
        "forest": RandomForestClassifier(300, class_weight="balanced", min_samples_leaf=3, random_state=1, n_jobs=-1),
        "linear": make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2_000)),
    }
    folds = min(FOLDS, len(set(groups)))
    found = {}
    for kind, model in kinds.items():
        guessed = np.zeros(len(labels), bool)
        for learnt, asked in GroupKFold(folds).split(windows, labels, groups):
            guessed[asked] = model.fit(windows[learnt], labels[learnt]).predict(windows[asked])
        found[kind] = balanced_accuracy_score(labels, guessed)
    return found


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    turns = json.loads((folder / "turns.json").read_text())
    whole = []
    for name in names:
        member = int("".join(c for c in name if c.isdigit()) or 0)
        windows, labels, groups = look(folder, name, member, turns)
        # Each line by its own measure, so that lines can be put together.
        spread = windows.std(axis=0)
        windows = (windows - windows.mean(axis=0)) / np.where(spread > 0, spread, 1)
        whole.append((windows, labels, groups))
    windows, labels, groups = (np.concatenate(part) for part in zip(*whole))
    print(f"  {len(labels)} windows of {WINDOW} s, {labels.sum()} of talking")
    for kind, share in score(windows, labels, groups).items():
        print(f"  {kind} tells talking from listening in {100 * share:.1f} %")


main()
