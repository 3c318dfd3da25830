"""Set up every peer in an environment of its own: .bench/<peer>/, beside the project's packages.

python benchmarks/peers/environments.py

An environment holds the peer, and what it needs that the project does not have; torch, transformers and the rest come
from the project's own environment, so that all are timed on the same kernels. Peers whose metadata ask for older
versions of these are installed without their dependencies (`bare`), which `note` says; what does not run then is
reported as an error by the benchmark.
"""

import argparse
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".bench"


@dataclass(frozen=True)
class Peer:
    """needs: what pip is to install. bare: what it is to install without dependencies."""

    needs: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()
    note: str = ""


PEERS = {
    "transformer_lens": Peer(note="4.3.0, a dependency of this project"),
    "nnsight": Peer(needs=("nnsight==0.8.1",), note="0.8.1"),
    "nnterp": Peer(needs=("nnsight==0.7.0",), bare=("nnterp==1.3.0",), note="1.3.0 on nnsight 0.7.0, which it needs"),
    "steering_vectors": Peer(bare=("steering-vectors==0.12.2",), note="0.12.2, which declares transformers < 5"),
    "repeng": Peer(
        needs=("gguf==0.17.1",),
        bare=("repeng==0.4.0",),
        note="0.4.0, which declares numpy < 2: `np.float_` is set to `np.float64` before it is imported",
    ),
    "pyvene": Peer(needs=("matplotlib",), bare=("pyvene==0.1.8",), note="0.1.8, without its training extras"),
}


def python(peer: str) -> Path:
    """The interpreter of a peer's environment."""
    return FOLDER / peer / "bin" / "python"


def installed() -> list[str]:
    """Peers that have been set up."""
    return [peer for peer in PEERS if (FOLDER / peer / ".installed").exists()]


def install(peer: str) -> None:
    """Make a peer's environment, unless it is there as it should be."""
    folder, wanted = FOLDER / peer, repr(PEERS[peer])
    done = folder / ".installed"
    if done.exists() and done.read_text() == wanted:
        return
    venv.create(folder, clear=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "project.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = [str(python(peer)), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    for packages, options in ((PEERS[peer].needs, []), (PEERS[peer].bare, ["--no-deps"])):
        if packages:
            subprocess.run([*pip, *options, *packages], check=True)
    done.write_text(wanted)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", metavar="PEER", help=f"{', '.join(PEERS)}; all unless named")
    failed = []
    for peer in parser.parse_args().peers or PEERS:
        try:
            install(peer)
        except subprocess.CalledProcessError as error:
            failed.append(peer)
            print(f"{peer}: pip ended with {error.returncode}", file=sys.stderr)
        else:
            print(f"{peer}: {python(peer)}")
    if failed:
        raise SystemExit(f"not set up: {', '.join(failed)}")


if __name__ == "__main__":
    main()
