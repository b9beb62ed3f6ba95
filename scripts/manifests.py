"""Validate the manifests in ``kubernetes/`` against the published schemas, strictly.

Those of Kubernetes are in the package ``kubernetes-validate`` (extra ``manifests``), KEDA's in
npm's ``@kubernetes-models/keda``, fetched into ``build/keda``. Each file is validated as it is,
and where there is a ``kubectl`` or a ``kustomize``, so is what the overlays render.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from npm import npm

ROOT = Path(__file__).resolve().parents[1]
FOLDER, KEDA = ROOT / "kubernetes", ROOT / "build" / "keda"
#: Versions of Kubernetes whose schemas are asked: the oldest that the manifests are for, and the
#: newest that the package has.
VERSIONS = ("1.30", kubernetes_validate.latest_version())
OVERLAYS = ("example", "setup")
#: Reads KEDA's objects as JSON from stdin; fails with the first that its schema refuses.
KEDA_CHECK = """
import { readFileSync } from "node:fs";
import * as models from "@kubernetes-models/keda/keda.sh/v1alpha1";
for (const one of JSON.parse(readFileSync(0))) new models[one.kind](one).validate();
"""

Objects = list[dict[str, Any]]


def sources() -> Iterator[tuple[str, Objects]]:
    """Yield each file, and each rendered overlay, with its objects."""
    for file in sorted(FOLDER.glob("*/*.yaml")):
        if file.name != "kustomization.yaml":
            yield str(file.relative_to(ROOT)), list(yaml.safe_load_all(file.read_text()))
    renderer = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    if shutil.which(renderer[0]) is None:
        sys.stdout.write("manifests: no kubectl and no kustomize here: files are not rendered\n")
        return
    for name in OVERLAYS:
        command = [*renderer, str(FOLDER / name)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        yield f"kubernetes/{name}, rendered", list(yaml.safe_load_all(done.stdout))


def faults(objects: Objects) -> Iterator[str]:
    """Yield a sentence about each object that a schema refuses."""
    keda = [one for one in objects if one["apiVersion"].startswith("keda.sh/")]
    if keda:
        done = subprocess.run(
            ["node", "--input-type=module", "--eval", KEDA_CHECK],
            cwd=KEDA,
            input=json.dumps(keda),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            yield done.stderr
    for one in objects:
        for version in () if one in keda else VERSIONS:
            try:
                kubernetes_validate.validate(one, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{one['kind']} {one['metadata']['name']} ({version}): {error}"


def main() -> int:
    """Print what was found, and return the exit status."""
    KEDA.mkdir(parents=True, exist_ok=True)
    package = "@kubernetes-models/keda@2"
    installed = npm("install", "--no-audit", "--no-fund", "--prefix", str(KEDA), package)
    if installed.returncode:
        sys.stdout.write(installed.stdout)
        return 1
    found = [f"{name}: {fault}" for name, objects in sources() for fault in faults(objects)]
    sys.stdout.write("\n".join([*found, f"{len(found)} faults\n"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
