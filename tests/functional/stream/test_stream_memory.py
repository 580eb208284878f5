"""The memory of a worker of stream_csv is flat, however long the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import cycle, islice
from pathlib import Path

from scripts.generate_data import stock_price

PROJECT = Path(__file__).resolve().parents[3]

# A process of its own, whose boto3 clients are real down to the socket.
WORKER = r"""
import io, json, os, re, sys
from botocore.awsrequest import AWSResponse
from lambdas.adapters.clients import client
from lambdas.stream_csv import handler

path, size = sys.argv[1], os.path.getsize(sys.argv[1])

class Body(io.BytesIO):
    def stream(self, *_, **__):
        yield self.read()

def answer(request, **_):
    body = b"{}"
    if request.method == "GET":
        first, last = map(int, re.findall("[0-9]+", str(request.headers["Range"])))
        with open(path, "rb") as file:
            file.seek(first)
            body = file.read(last - first + 1)
    elif b'"PartitionKey"' in (request.body or b""):
        records = [{"ShardId": "s"}] * request.body.count(b'"PartitionKey"')
        body = json.dumps({"FailedRecordCount": 0, "Records": records}).encode()
    return AWSResponse(request.url, 200, {"content-length": str(len(body))}, Body(body))

for service in ("s3", "kinesis", "dynamodb", "sqs"):
    client(service).meta.events.register("before-send", answer)

class Context:
    function_name = invoked_function_arn = aws_request_id = "f"
    memory_limit_in_mb = 1024
    get_remaining_time_in_millis = staticmethod(lambda: 600_000)

item = {"key": "stream-input-data/stock_price/a.csv", "size": size, "versionId": "v"}
body = json.dumps({"Records": [{"s3": {"bucket": {"name": "b"}, "object": item}}]})
event = {"Records": [{"messageId": "1", "eventSource": "aws:sqs", "body": body}]}
assert handler.handler(event, Context()) == {"batchItemFailures": []}
# Not ru_maxrss: a process inherits that of the one that it is forked from.
status = open("/proc/self/status").read()
print(int(re.search(r"VmHWM:\s+([0-9]+) kB", status)[1]) * 1024)
"""


def peak(path: Path) -> int:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(PROJECT),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "STREAM_NAME": "stream",
        "LAKE_BUCKET": "lake",
        "UPLOADS_TABLE": "uploads",
        "QUEUE_URL": "https://sqs.us-east-1.amazonaws.com/1/uploads",
        "POWERTOOLS_METRICS_NAMESPACE": "tidemill",
        "POWERTOOLS_SERVICE_NAME": "stream_csv",
    }
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    *logged, memory = done.stdout.splitlines()
    assert any('"rows_sent"' in line for line in logged)
    return int(memory)


def test_ten_times_the_rows_need_no_more_memory(tmp_path: Path) -> None:
    header, *rows = stock_price(1000)
    rows[::50] = ['"A\nB",TELECOM,1.5,80\n'] * len(rows[::50])
    peaks = []
    for count in (153_580, 1_500_000):
        file = tmp_path / f"{count}.csv"
        with file.open("w", newline="") as out:
            out.write(header)
            out.writelines(islice(cycle(rows), count))
        peaks.append(peak(file))
    assert max(peaks) <= 128e6, json.dumps(peaks)
    assert peaks[1] <= 1.1 * peaks[0]
