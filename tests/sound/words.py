"""Word errors and quality of WAV files, by the voice measuring kit.

words.py KIT extract FOLDER     writes the kit's clips that have a true transcript, 48 kHz mono
words.py KIT score FOLDER...    one JSON object a folder: word errors in percent, quality (DNSMOS, 1 to 5)
"""

import json
import multiprocessing
import sys
from pathlib import Path

KIT = Path(sys.argv[1])
sys.path.insert(0, str(KIT))


def clips():
    items = json.loads((KIT / "data" / "dev.json").read_text())["items"]
    return [item for item in items if item["corpus"] in ("libriasr", "vctk") and "asr" in item["tasks"]]


def name(item):
    return item["path"].replace("/", "_").rsplit(".", 1)[0] + ".wav"


def extract(folder):
    from kit import audio

    folder.mkdir(parents=True, exist_ok=True)
    for item in clips():
        audio.write(folder / name(item), audio.read(KIT / "data" / item["path"], audio.SR_IO), audio.SR_IO)


def listen(folder):
    from kit import asr, audio, mos

    hear, judge = asr.Asr(), mos.Mos()
    pairs, quality = [], []
    for item in clips():
        samples = audio.read(folder / name(item))
        pairs.append((item["text"], hear(samples)))
        quality.append(judge(samples)["ovr"])
    return {"words": round(asr.score(pairs)[0], 2), "quality": round(sum(quality) / len(quality), 3)}


if __name__ == "__main__":
    command, folders = sys.argv[2], [Path(folder) for folder in sys.argv[3:]]
    if command == "extract":
        extract(folders[0])
    else:
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for result in pool.imap(listen, folders):
                print(json.dumps(result), flush=True)
