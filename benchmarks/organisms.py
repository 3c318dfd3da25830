"""How long the constructed organisms take to build, each held against its weights.

python benchmarks/organisms.py
"""

import time

from lens.organisms import constructed


def main() -> None:
    constructed.build("traits")  # imports and first calls
    total = [0.0, 0.0]
    for name in constructed.names():
        wall, cpu = time.perf_counter(), time.process_time()
        constructed.build(name)
        took = time.perf_counter() - wall, time.process_time() - cpu
        total = [sum(pair) for pair in zip(total, took, strict=True)]
        print(f"{name:28} {took[0]:6.2f} s {took[1]:6.2f} CPU s")
    print(f"{'all':28} {total[0]:6.2f} s {total[1]:6.2f} CPU s")


if __name__ == "__main__":
    main()
