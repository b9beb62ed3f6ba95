"""A plain script: ``python -m support.applications.script OWNER``"""

from __future__ import annotations

import json
import sys

from bridge import Bridge

if __name__ == "__main__":
    job = Bridge().enqueue("support.add", [20, 22], owner=sys.argv[1])
    sys.stdout.write(json.dumps({"job": job.id, "token": job.token}))
