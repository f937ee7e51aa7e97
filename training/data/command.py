"""The `vitrine data` command: import a data set as a snapshot, check a snapshot."""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from training.data.check import CheckReport, check_snapshot
from training.data.snapshot import QUARANTINE, SnapshotManifest
from training.data.sources import SOURCES, import_data


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their arguments to `vitrine data`."""
    commands = parser.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    importing = commands.add_parser(
        "import",
        help="read a data set and write a snapshot",
        description="Read a data set, set its bad rows aside, and write a snapshot for training.",
    )
    importing.add_argument("source", choices=SOURCES, metavar="SOURCE", help=", ".join(SOURCES))
    importing.add_argument("folder", type=Path, metavar="DIR", help="its folder, or one file")
    importing.add_argument("--out", type=Path, required=True, metavar="SNAPSHOT")
    checking = commands.add_parser(
        "check",
        help="verify a snapshot",
        description="Verify a snapshot's digests, columns, counts, order, references and ranges.",
    )
    checking.add_argument("snapshot", type=Path, metavar="SNAPSHOT", help="its folder")
    for command in (importing, checking):
        command.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; the exit status is 0 only if everything is right.

    Raises DataRejected where the data cannot be loaded at all.
    """
    return _import(args) if args.data_command == "import" else _check(args)


def _import(args: argparse.Namespace) -> int:
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("starting", total=1.0)
        manifest = import_data(
            args.source,
            args.folder,
            args.out,
            progress=lambda step, share: bar.update(task, description=step, completed=share),
        )
    if args.json:
        _write_json(asdict(manifest))
    else:
        _show_manifest(manifest, args.out)
    return 0


def _check(args: argparse.Namespace) -> int:
    report = check_snapshot(args.snapshot)
    if args.json:
        _write_json(report.to_json())
    else:
        _show_report(report)
    return 0 if report.is_passed else 1


def _show_manifest(manifest: SnapshotManifest, out: Path) -> None:
    console = Console()
    table = Table("what", "count", title=f"{manifest.snapshot} in {out}", title_justify="left")
    table.columns[1].justify = "right"
    for name in ("products", "shoppers", "events"):
        table.add_row(name, f"{manifest.counts[name]:,}")
    for event in sorted(manifest.event_types()):
        table.add_row(f"  {event}", f"{manifest.counts[f'events_{event}']:,}")
    table.add_row("quarantined", f"{manifest.counts['quarantined']:,}")
    for fault, count in sorted(manifest.faults.items(), key=lambda pair: -pair[1]):
        table.add_row(f"  {fault}", f"{count:,}")
    table.add_row("left out", f"{sum(manifest.left_out.values()):,}")
    for reason, count in sorted(manifest.left_out.items(), key=lambda pair: -pair[1]):
        table.add_row(f"  {reason}", f"{count:,}")
    console.print(table)
    first, last = (
        datetime.fromtimestamp(ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M")
        for ms in (manifest.first_ms, manifest.last_ms)
    )
    real = "" if manifest.time_is_real else " (made up: only the order is known)"
    console.print(f"{first} to {last} UTC{real}, prices in {manifest.currency}", highlight=False)
    for note in manifest.notes:
        console.print(f"note: {note}", highlight=False, markup=False)
    if manifest.counts["quarantined"]:
        console.print(f"bad rows: {out / QUARANTINE}", highlight=False, soft_wrap=True)


def _show_report(report: CheckReport) -> None:
    title = f"{report.snapshot or 'no snapshot'} in {report.folder}"
    table = Table("check", "result", title=title, title_justify="left")
    for check in report.checks:
        table.add_row(check.name, "[green]right[/green]" if check.is_passed else check.fault)
    Console().print(table)


def _write_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")
