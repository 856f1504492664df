"""`infra/check-deployment`: the deployed form of the box office, driven by its users."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import cloud as clouds
import journey
import permissions
from office import Office

# What this test cannot show. Each was looked for in ministack's code, and tried.
NOT_SHOWN = """\
Not shown here, since ministack differs from AWS or nobody can move the clock of a function:
  - routes: it ignores an HTTP API's Body, so the routes that SAM writes there were made as resources of their own
  - throttling of routes, and instances that are reserved
  - rights that AWS uses in a function's name (logs, reading queues and streams): it asks for none of them, so a role that lacked
    one would work here; it asks for sqs:SendMessageBatch and sns:PublishBatch, which AWS does not have, and for ses:SendEmail of
    no identity by name, so they were given
  - the tables' own policies, which forbid everybody to change Ledger and Desk: it reads none. The roles' own were tried
  - encryption, point-in-time recovery, warm throughput, deletion protection: taken note of, without effect
  - what the dashboard shows, and that alarms ring. Alarms over several metrics it refuses, so these were left out:
    {left_out}
  - ten minutes and a month: the hold that ended, and the subscription whose month was over, were set back in their tables by hand
  - the comparison of a day with sales: only the day before is compared, on which there was no stack
  - arm64: the artefact that ran is for x86_64"""
LOG_CHARS_MAX = 3_000

# Modules of tests/it: what the tables' conditions, transactions and streams are for.
CORE = [
    "orders::", "payment::", "refunds::", "cancellation::", "seating::", "tickets::", "journal::", "fight::", "costs::",
    "subscriptions::", "renewals::", "perks::",
]


def tables(ask):
    """Every condition and every transaction again, by another hand than the embedded engine's."""
    with clouds.Cloud(ask.artefact, ask.tools, is_whole=False) as cloud:
        environment = os.environ | {"BOXOFFICE_TEST_DYNAMODB_URL": cloud.endpoint}
        # With the features of the whole workspace, as the tests before this one have built it.
        command = ["cargo", "test", "--workspace", "--test", "it", "--", *CORE]
        return subprocess.run(command, env=environment, cwd=clouds.ROOT).returncode


def main():
    parser = argparse.ArgumentParser(prog="infra/check-deployment", description=__doc__)
    parser.add_argument("--artefact", default="target/artefact/bootstrap/bootstrap", help="the bootstrap that the functions run (%(default)s)")
    parser.add_argument("--tools", default="target/debug", help="where boxoffice and sandbox are (%(default)s)")
    parser.add_argument("--permissions", action="store_true", help="take each permission away in turn; writes infra/permissions.md")
    parser.add_argument("--only", action="append", default=[], metavar="FUNCTION", help="with --permissions: this one's alone")
    parser.add_argument("--tables", action="store_true", help="run the core tests of tests/it against ministack's DynamoDB instead")
    parser.add_argument("--keep", action="store_true", help="leave everything running until Enter is pressed")
    ask = parser.parse_args()
    if ask.tables:
        sys.exit(tables(ask))
    started = time.monotonic()
    with clouds.Cloud(ask.artefact, ask.tools) as cloud:
        size = Path(ask.artefact).stat().st_size
        print(f"{time.monotonic() - started:6.1f} s  the stack is there: {len(cloud.names)} resources, "
              f"an artefact of {size / 1e6:.1f} MB ({cloud.packed_bytes / 1e6:.1f} packed)", flush=True)
        try:
            if ask.permissions:
                permissions.run(Office(cloud), lambda text: print(text, flush=True), ask.only)
            else:
                journey.run(Office(cloud), lambda text: print(text, flush=True))
        except Exception:
            told = [line for line in cloud.logs() if '"WARN"' in line or '"ERROR"' in line]
            print("".join(told)[-LOG_CHARS_MAX:], cloud.output("ministack")[-LOG_CHARS_MAX:], sep="\n", file=sys.stderr)
            raise
        finally:
            if ask.keep:
                input(f"API {cloud.api}; AWS {cloud.endpoint}; Enter ends it")
    print(NOT_SHOWN.format(left_out=", ".join(cloud.left_out)))
    print(f"all of it held, in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
