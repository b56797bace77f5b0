"""Makes the Python environment of the tests, once per machine: `environment.py FOLDER REQUIREMENTS`.

Test runs that start at the same time wait for the first of them. What is there already and holds
the same requirements, for the same Python, is left alone.
"""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGE = "python3-venv is needed (Debian: apt-get install python3-venv; `make test` installs it)"
NETWORK = "the Python packages of the tests are needed: PyPI has to be reachable, once"


def main():
    folder, requirements = Path(sys.argv[1]), Path(sys.argv[2])
    if sys.version_info < (3, 10):
        sys.exit(f"Python 3.10 or newer is needed, and this is {sys.version}")
    # The system drops the lock with the process, however it ends.
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # An environment belongs to the Python that made it.
        content = f"{sys.executable} {sys.version}\n{requirements.read_text()}"
        mark = folder / "content"
        if mark.exists() and mark.read_text() == content:
            return
        shutil.rmtree(folder, ignore_errors=True)
        run([sys.executable, "-m", "venv", folder], PACKAGE)
        pip = [folder / "bin" / "python", "-m", "pip", "--quiet", "--disable-pip-version-check"]
        install = ["install", "--require-hashes", "--only-binary", ":all:", "--requirement"]
        run([*pip, *install, requirements], NETWORK)
        # Written last: half an environment is made anew.
        mark.write_text(content)


def run(command, needed):
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.exit(f"{done.stdout}\n{needed}")


main()
