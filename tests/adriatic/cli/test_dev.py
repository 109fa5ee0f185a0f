"""`adriatic dev fake-llm` as a process: it says where it listens, answers, keeps bills, and ends when it is told to."""

from __future__ import annotations

import signal
import subprocess
import sys

import httpx
from click.testing import CliRunner

from adriatic.cli import cli
from connectors.llm.fake.scripts import describe
from runtime.errors import InvalidInput, Misconfigured
from tests.patience import PATIENCE_S

QUESTION = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Why?"}]}


def test_it_serves_until_it_is_told_to_end() -> None:
    command = [sys.executable, "-m", "adriatic", "dev", "fake-llm", "--port", "0", "--script", "cut-end"]
    paced = ["--ttft-ms", "0", "--gap-ms", "0", "--chunks", "3"]
    with subprocess.Popen([*command, *paced], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        url = process.stderr.readline().split()[-1]
        with httpx.Client(base_url=url, timeout=PATIENCE_S) as client:
            whole = client.post("/v1/chat/completions", json=QUESTION, headers={"x-fake-script": "whole"})
            assert whole.content.endswith(b"data: [DONE]\n\n")
            try:
                client.post("/v1/chat/completions", json=QUESTION)
                raise AssertionError("the script cuts the connection")
            except httpx.RemoteProtocolError:
                pass
            bills = client.get("/bills").json()
            assert [(bill["script"], bill["outcome"], bill["output_tokens"]) for bill in bills] == [
                ("whole", "sent", 3),
                ("cut-end", "cut", 3),
            ]
            assert client.get("/stats").json()["cost_micro_usd"] == sum(bill["cost_micro_usd"] for bill in bills) > 0
            taken = CliRunner().invoke(cli, ["dev", "fake-llm", "--port", url.rpartition(":")[2]])
            assert isinstance(taken.exception, Misconfigured)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0


def test_its_help_names_every_script() -> None:
    said = CliRunner().invoke(cli, ["dev", "fake-llm", "--help"]).output
    assert all(name in said and summary in said for name, summary in describe().items())


def test_a_script_that_there_is_not_is_refused() -> None:
    assert isinstance(CliRunner().invoke(cli, ["dev", "fake-llm", "--script", "x"]).exception, InvalidInput)
