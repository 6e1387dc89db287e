"""Time, storage and cost of labelling so many hours, from throughput that was measured elsewhere.

    python tests/benchmarks/scale_plan.py --teacher demo=30 --teacher hubert-base=4.4 --hours 960 100000

A teacher is NAME=SPEED, in seconds of speech a second of one thread, as tests/benchmarks/labelling.py
and tests/benchmarks/reference_teacher.py print it. Nothing is measured here: the rest is arithmetic on
what the options say, and the prices are yours to replace.
"""

import argparse

FLAC_MB = 62.0  # an hour of 16 kHz, 16-bit FLAC, about what LibriSpeech takes as published: 960 h in some 60 GB


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", action="append", required=True, metavar="NAME=SPEED")
    parser.add_argument("--hours", type=float, nargs="+", default=[960.0, 100_000.0])
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 64, 1024])
    parser.add_argument("--scaling", type=float, default=0.9, help="of two workers by twice one")
    parser.add_argument("--labels-mb", type=float, default=10.0, help="of labels an hour")
    parser.add_argument("--audio-mb", type=float, default=FLAC_MB, help="of kept FLAC an hour")
    parser.add_argument("--vcpu-hour", type=float, default=0.04, help="price of a thread's hour")
    parser.add_argument("--tb-month", type=float, default=23.0, help="price of storing 10^12 bytes")
    given = parser.parse_args()
    print("| hours | teacher | thread hours | " + " | ".join(f"{n} threads" for n in given.workers) +
          " | price | labels | with audio | storage a month |")  # fmt: skip
    print("|--:|---|--:|" + "--:|" * len(given.workers) + "--:|--:|--:|--:|")
    for hours in given.hours:
        for teacher in given.teacher:
            name, _, speed = teacher.partition("=")
            alone = hours / float(speed)
            # What a second worker costs the first is paid once a machine is full.
            threads = alone / given.scaling
            waits = " | ".join(_time(threads / n) for n in given.workers)
            labels, audio = hours * given.labels_mb * 1e6, hours * given.audio_mb * 1e6
            print(
                f"| {hours:,.0f} | {name} | {threads:,.0f} | {waits} | {threads * given.vcpu_hour:,.0f} $ "
                f"| {_size(labels)} | {_size(labels + audio)} "
                f"| {(labels + audio) / 1e12 * given.tb_month:,.2f} $ |"
            )


def _time(hours: float) -> str:
    return f"{hours / 24:,.1f} d" if hours >= 48 else f"{hours:,.1f} h"


def _size(number: float) -> str:
    return f"{number / 1e12:,.1f} TB" if number >= 1e12 else f"{number / 1e9:,.0f} GB"


if __name__ == "__main__":
    main()
