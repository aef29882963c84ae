"""Write the demo's table: questions about pictures, and their answers.

    python make_table.py OUT_DIR    ->  OUT_DIR/table.csv, its test rows alone in OUT_DIR/test.csv, OUT_DIR/images/...

The pictures and questions are those of easy-VQA (Victor Zhou, 2019, MIT licence), read from the installed package
`easy-vqa`. A seeded choice of them is taken. The test rows come from the official test part; validation rows are taken
from the official training part. All questions about one picture stand in one part.
"""

from __future__ import annotations

import csv
import random
import shutil
import sys
from pathlib import Path

import easy_vqa

SEED = 0
QUESTIONS = 4
"""At most so many questions about one picture."""

PICTURES = {"train": 300, "valid": 75, "test": 125}
"""How many pictures each part has."""


def main(folder: Path) -> None:
    """Write the two tables and the pictures below `folder`; files that are there already are replaced."""
    draw = random.Random(SEED)
    official = {
        "train": (easy_vqa.get_train_questions(), easy_vqa.get_train_image_paths()),
        "test": (easy_vqa.get_test_questions(), easy_vqa.get_test_image_paths()),
    }
    train = draw.sample(sorted(official["train"][1]), PICTURES["train"] + PICTURES["valid"])
    test = draw.sample(sorted(official["test"][1]), PICTURES["test"])
    parts = {"train": train[: PICTURES["train"]], "valid": train[PICTURES["train"] :], "test": test}
    rows = []
    for part, pictures in parts.items():
        source = "test" if part == "test" else "train"
        (questions, answers, about), paths = official[source]
        asked: dict[int, list[int]] = {}
        for number, picture in enumerate(about):
            asked.setdefault(picture, []).append(number)
        (folder / "images" / source).mkdir(parents=True, exist_ok=True)
        for picture in pictures:
            image = f"images/{source}/{picture}.png"
            shutil.copyfile(paths[picture], folder / image)
            chosen = sorted(draw.sample(asked[picture], min(QUESTIONS, len(asked[picture]))))
            rows += [(questions[number], image, answers[number], part) for number in chosen]
    write(folder / "table.csv", rows)
    write(folder / "test.csv", [row for row in rows if row[-1] == "test"])
    print(f"{folder / 'table.csv'}: {len(rows)} questions about {sum(PICTURES.values())} pictures")


def write(path: Path, rows: list[tuple[str, str, str, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("question", "image", "answer", "split"))
        writer.writerows(rows)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python make_table.py OUT_DIR")
    main(Path(sys.argv[1]))
