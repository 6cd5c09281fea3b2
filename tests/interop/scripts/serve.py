"""Run scripts in processes forked from this one, which has imported DeepLabCut: that takes long.

Each line read is a JSON list: a script, the files that get what it prints to stdout and stderr, and
its arguments. Each line written is the exit code of one; minus the signal that ended it.
"""

import json
import multiprocessing
import os
import runpy
import sys

SECONDS = 900  # the most that a script may take

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # importing DeepLabCut prints

import deeplabcut.pose_estimation_pytorch.apis  # noqa: E402, F401


def run(script, out, err, *arguments):
    for path, descriptor in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


for line in sys.stdin:
    process = multiprocessing.get_context("fork").Process(target=run, args=json.loads(line))
    process.start()
    process.join(SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    print(process.exitcode, file=answers, flush=True)
