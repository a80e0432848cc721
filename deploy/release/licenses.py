#!/usr/bin/env python3
"""Prints the licences of all crates that the static programs contain, each text once.

    deploy/release/licenses.py

Most licences ask that their text goes along with each copy. A crate without a text is listed with the name of its licence.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ["whereabouts-cni", "whereabouts-ctl"]
TARGETS = ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"]
TEXTS = ("LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE")


def cargo(*arguments):
    return subprocess.run(["cargo", *arguments, "--locked"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def linked():
    """Name and version of each crate whose code is in a program: none that only builds or tests."""
    options = [option for program in PROGRAMS for option in ("--package", program)]
    for target in TARGETS:
        tree = cargo("tree", *options, "--edges", "normal,no-proc-macro", "--target", target, "--prefix", "none")
        for line in filter(None, tree.splitlines()):
            name, version = line.split()[:2]
            yield name, version.removeprefix("v")


def texts(folder):
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name.upper().startswith(TEXTS):
            yield path.read_text(encoding="utf-8", errors="replace").strip()


def main():
    crates = set(linked())
    packages = [
        package
        for package in json.loads(cargo("metadata", "--format-version", "1"))["packages"]
        if package["source"] and (package["name"], package["version"]) in crates
    ]
    users, written = defaultdict(list), {}
    print("The programs whereabouts and whereaboutsctl contain these crates, and the standard library of Rust (MIT OR Apache-2.0).")
    print("The C library is musl (MIT); datastore local is SQLite (public domain).\n")
    for package in sorted(packages, key=lambda package: (package["name"], package["version"])):
        crate = f"{package['name']} {package['version']}"
        print(f"  {crate}: {package['license']}")
        for text in texts(Path(package["manifest_path"]).parent):
            # Copies of one licence differ in their line breaks.
            words = " ".join(text.split())
            users[words].append(crate)
            written[words] = text
    for words, crates_of_it in users.items():
        print(f"\n{'=' * 78}\n{', '.join(dict.fromkeys(crates_of_it))}\n{'=' * 78}\n\n{written[words]}")


if __name__ == "__main__":
    sys.exit(main())
