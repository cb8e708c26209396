"""How well the morph hides a voice, and what it leaves of speech, by the voice measuring kit.

    python privacy.py KIT OUT [PART...]

To be run with the kit's Python, in the workspace. Parts, all of them if none is named; what OUT has already is not
measured again:

table       the kit's full table for the morph beside unprotected speech, random pitch and random McAdams
stable      the same attackers where each speaker keeps one seed for all that the attacker pools
ablations   the kit's full table with each part of the morph left out
characters  the kit's quick table for each character
feeling     four feelings told apart, for four draws of each speaker's seed: the kit's table has one draw of four
first       what an attacker makes of the first 500 ms, against 500 ms from the middle
inversion   a search for the inverse on 20 utterances, with everything known but the seed
"""

import collections
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
KIT, OUT = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
sys.path.insert(0, str(KIT))
MORPH = HERE.parents[2] / "target/release/examples/morph"
CHARACTERS = ["free", "low", "middle", "high", "warm", "bright", "soft", "clear"]
LEFT_OUT = ["normalising", "pitch", "pivot", "colour", "contrast"]
# Delay of the morph's output in a file, seconds.
LATE = 0.024


def items(split):
    return json.loads((KIT / "data" / f"{split}.json").read_text())["items"]


def build(*options):
    build = ["cargo", "build", "--release", "--quiet", "--package", "undertone-dsp", "--example", "morph"]
    subprocess.run([*build, *options], cwd=HERE.parents[2], check=True)


def evaluate(name, command, *options):
    """Runs the kit, unless its figures are there already."""
    report = OUT / f"{name}.json"
    if not report.exists():
        run = [sys.executable, "evaluate.py", "--cmd", command, "--name", name, "--split", "dev", "--json", str(report)]
        subprocess.run([*run, *options], cwd=KIT, check=True, stdout=subprocess.DEVNULL)
    return json.loads(report.read_text())


def row(name, d, full=True):
    eer = lambda key: d["privacy_eer"].get(key, {}).get("eer")
    words = d["asr"]
    mos, expression = d["mos"], d["expression"]
    attackers = ["ignorant", "ignorant_unwarp", "lazy_informed", "lazy_informed_pooled4"]
    attackers += ["semi_informed", "semi_informed_pooled4", "same_seed_distinctiveness"] if full else []
    percents = [eer(attacker) for attacker in attackers] + [words["native"]["wer"], words["accented"]["wer"]]
    shares = [mos["ovr"]["morphed"], mos["distill"]["morphed"]]
    shares += [expression[key] for key in ("f0_corr", "f0_corr_p10", "vuv_err", "energy_corr", "onset_corr")]
    feeling = [d["emotion"]["speaker_normalised"]["uar"]] if full else []
    cells = [f"{c:.1f}" for c in percents] + [f"{c:.2f}" for c in shares] + [f"{c:.1f}" for c in feeling]
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def head(full=True):
    columns = "| | ignorant | unwarp | lazy | lazy of 4 |"
    columns += " trained | trained of 4 | same seed |" if full else ""
    columns += " words wrong | accented | DNSMOS | DistillMOS | f0 | f0, worst 10th | voicing | energy | onsets |"
    columns += " feeling |" if full else ""
    print(columns + "\n|" + "---|" * (columns.count("|") - 1))


def table():
    python = sys.executable
    head()
    row("unprotected", evaluate("identity", f"{python} refs/identity.py {{list}}"))
    row("random pitch", evaluate("pitch", "sh refs/pitch.sh {in} {out} {seed} random"))
    row("random McAdams", evaluate("mcadams", f"{python} refs/mcadams.py {{list}} --lo 0.5 --hi 0.9"))
    row("the morph", evaluate("morph", f"{MORPH} --list {{list}}"))


def stable():
    head()
    row("new seeds", evaluate("morph", f"{MORPH} --list {{list}}"))
    row("one seed a speaker", evaluate("stable", f"{sys.executable} {HERE} {KIT} {OUT} one-seed {{list}}"))


def one_seed(listed):
    """Morphs a list of the kit's with one seed for all trials of a speaker."""
    speaker = {}
    for item in items("dev"):
        if "asv" in item["tasks"] and item["role"] == "trial":
            speaker[item["path"].replace("/", "_").rsplit(".", 1)[0]] = item["spk"]
    lines = []
    for line in Path(listed).read_text().splitlines():
        source, made, seed = line.split("\t")
        if Path(source).stem in speaker and made.endswith(".m.wav"):
            seed = int.from_bytes(hashlib.sha256(speaker[Path(source).stem].encode()).digest()[:4], "big")
        lines.append(f"{source}\t{made}\t{seed}\n")
    mapped = Path(f"{listed}.one")
    mapped.write_text("".join(lines))
    subprocess.run([MORPH, "--list", mapped], check=True)


def ablations():
    parts = OUT / "morph-ablation"
    if not parts.exists():
        build("--features", "ablation")
        shutil.copy(MORPH, parts)
        build()
    head()
    row("all parts", evaluate("morph", f"{MORPH} --list {{list}}"))
    for part in LEFT_OUT:
        row(f"no {part}", evaluate(f"without-{part}", f"{parts} --without {part} --list {{list}}"))


def characters():
    head(full=False)
    for name in CHARACTERS:
        row(name, evaluate(f"character-{name}", f"{MORPH} --character {name} --list {{list}}", "--quick"), full=False)


def morphed(chosen, seed=lambda i, item: 1000 + i):
    """Original and morphed samples of items, at 16 kHz, each with a seed of its own if nothing else is said."""
    from kit import audio

    folder = OUT / "files"
    folder.mkdir(exist_ok=True)
    places = [(folder / f"{i}.in.wav", folder / f"{i}.out.wav") for i in range(len(chosen))]
    for item, (source, _) in zip(chosen, places):
        audio.write(source, audio.read(KIT / "data" / item["path"], audio.SR_IO), audio.SR_IO)
    seeds = (seed(i, item) for i, item in enumerate(chosen))
    lines = (f"{source}\t{made}\t{seed}\n" for (source, made), seed in zip(places, seeds))
    (folder / "list").write_text("".join(lines))
    subprocess.run([MORPH, "--list", folder / "list"], check=True)
    late = int(LATE * audio.SR)
    return [(audio.read(source), audio.read(made)[late:]) for source, made in places]


def feeling():
    from evaluate import emotion
    from kit import audio, prosody

    tested = [item for item in items("dev") if "ser" in item["tasks"]]
    all_splits = [split for split in ("dev", "heldout") if (KIT / "data" / f"{split}.json").exists()]
    known = [(split, item) for split in all_splits for item in items(split) if "ser" in item["tasks"]]
    clear = {item["path"]: prosody.emotion_features(audio.read(KIT / "data" / item["path"])) for _, item in known}
    speakers = sorted({item["spk"] for item in tested})
    rates = []
    for draw in range(4):
        pairs = morphed(tested, lambda _, item: 2000 + 100 * draw + speakers.index(item["spk"]))
        heard = {("emo", item["path"]): prosody.emotion_features(made) for item, (_, made) in zip(tested, pairs)}
        rates.append(emotion(known, clear, tested, heard)["speaker_normalised"]["uar"])
    print(f"{np.mean(rates):.1f} % of {rates}")


def enrolled(encoder):
    """Each speaker's gender, and mean embedding of the enrolment utterances."""
    from kit import audio

    heard = collections.defaultdict(list)
    gender = {}
    for item in items("dev"):
        if "asv" in item["tasks"] and item["role"] == "enrol":
            samples = audio.read(KIT / "data" / item["path"])
            heard[item["spk"]].append(encoder.embed(samples, models=("ge2e",))["ge2e"])
            gender[item["spk"]] = item["gender"]
    return {spk: (gender[spk], np.mean(e, axis=0)) for spk, e in heard.items()}


def trials(count):
    """One trial utterance a speaker, of so many speakers."""
    found = {}
    for item in items("dev"):
        if "asv" in item["tasks"] and item["role"] == "trial":
            found.setdefault(item["spk"], item)
    return [found[spk] for spk in sorted(found)[:: max(1, len(found) // count)]][:count]


def error_rate(score, chosen, voices):
    """Equal error rate, percent, over claims of the right and of all other speakers of the same gender."""
    from kit import stats

    right, wrong = [], []
    for i, item in enumerate(chosen):
        for spk, (gender, voice) in voices.items():
            if gender == item["gender"]:
                (right if spk == item["spk"] else wrong).append(score(i, voice))
    return stats.eer(np.array(right), np.array(wrong))


def percent(rate):
    return f"{rate:.1f} %"


def first():
    from kit import audio
    from kit.asv import Encoder

    encoder = Encoder()
    voices, chosen = enrolled(encoder), trials(64)
    pairs = morphed(chosen)
    half = audio.SR // 2
    print("| 500 ms | from the beginning of speech | from the middle |\n|---|---|---|")
    for name, which in (("unprotected", 0), ("the morph", 1)):
        cells = []
        for middle in (False, True):
            ears = []
            for pair in pairs:
                speech = np.flatnonzero(audio.speech_mask(pair[0]))
                hop = len(pair[0]) / len(audio.speech_mask(pair[0]))
                begin = int(speech[len(speech) // 2 if middle else 0] * hop)
                ears.append(encoder.embed(pair[which][begin : begin + half], models=("ge2e",))["ge2e"])
            cells.append(percent(error_rate(lambda i, v: float(ears[i] @ v), chosen, voices)))
        print(f"| {name} | {cells[0]} | {cells[1]} |")


def inverses():
    """Frequencies that the attacker reads for each of 201 bins: the warp of every pivot, and stretches by pitch."""
    hz = np.linspace(0.0, 8000.0, 201)
    for exponent in np.linspace(-0.45, 0.45, 13):
        for pivot in (1500.0, 1900.0, 2400.0, 3000.0) if exponent else (1500.0,):
            for tract in (0.88, 0.94, 1.0, 1.06, 1.12):
                # The morph reads at p (u / p) ^ (1 / (1 + q)) for what it puts at a u.
                yield tract * pivot * (np.maximum(hz, 1.0) / pivot) ** (1.0 + exponent)


def inversion():
    from kit import audio
    from kit.asv import _pool, _windows, Encoder

    encoder = Encoder()
    voices, chosen = enrolled(encoder), trials(20)
    pairs = morphed(chosen)
    hz = np.linspace(0.0, 8000.0, 201)

    def spectrum(samples):
        samples = audio.trim_silence(np.asarray(samples, dtype=np.float32))
        samples = samples * (10 ** (-30 / 20) / np.sqrt((samples**2).mean() + 1e-12))
        return audio.power_spec(samples, 400, 400, 160, "hann", True)

    # What everybody's speech looks like on average: the session's colour is put back to it.
    everyone = np.mean([np.log(spectrum(original) + 1e-9).mean(axis=0) for original, _ in pairs], axis=0)

    def heard(power, axis, is_level):
        bins = np.clip(axis / 40.0, 0, 199.999)
        low = bins.astype(int)
        share = (bins - low).astype(np.float32)
        power = power[:, low] * (1 - share) + power[:, low + 1] * share
        if is_level:
            power = power * np.exp(everyone - np.log(power + 1e-9).mean(axis=0))
        mel = (power @ encoder.mel_ge).astype(np.float32)
        return _pool(encoder.ge.run(None, {"x": _windows(mel, 160, 80)})[0])

    plain = [[heard(spectrum(made), hz, False)] for _, made in pairs]
    leveled = [[heard(spectrum(made), hz, True)] for _, made in pairs]
    searched = [[heard(spectrum(made), axis, True) for axis in inverses()] for _, made in pairs]
    original = [[heard(spectrum(source), hz, False)] for source, _ in pairs]
    tried = len(searched[0])
    print("| attacker, 20 utterances | error rate |\n|---|---|")
    for name, ears in (
        ("the voice itself", original),
        ("no inverse", plain),
        ("colour levelled", leveled),
        (f"colour levelled, best of {tried} inverses for each claim", searched),
    ):
        best = lambda i, v, ears=ears: max(float(e @ v) for e in ears[i])
        print(f"| {name} | {percent(error_rate(best, chosen, voices))} |")
    # The best single inverse of all for each utterance, chosen with the answer in hand: no attacker has it.
    oracle = [max(ears, key=lambda e: float(e @ voices[item["spk"]][1])) for ears, item in zip(searched, chosen)]
    rate = error_rate(lambda i, v: float(oracle[i] @ v), chosen, voices)
    print(f"| the inverse nearest to the true speaker, told in advance | {percent(rate)} |")


PARTS = {part.__name__: part for part in (table, stable, ablations, characters, feeling, first, inversion)}

if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    if sys.argv[3:4] == ["one-seed"]:
        one_seed(sys.argv[4])
    else:
        build()
        for part in sys.argv[3:] or PARTS:
            print(f"\n{part}\n", flush=True)
            PARTS[part]()
