"""What the page about exports at scale shows for other programs is valid there."""

from __future__ import annotations

import subprocess

import yaml

from tests.test_docs import ROOT, blocks

PAGE = ROOT / "docs/howto/export-at-scale.md"


def test_scripts_of_the_page_are_valid():
    """Bash accepts them."""
    scripts = [block.text for block in blocks(PAGE) if block.language == "bash"]

    assert 3 == len(scripts)
    for script in scripts:
        subprocess.run(["bash", "-n", "-c", script], check=True)


def test_job_of_the_page_runs_each_shard_once():
    """Kubernetes gives each of the pods another index."""
    [job] = [yaml.safe_load(block.text) for block in blocks(PAGE) if block.language == "yaml"]
    [container] = job["spec"]["template"]["spec"]["containers"]

    assert "Indexed" == job["spec"]["completionMode"]
    assert f"--shard $JOB_COMPLETION_INDEX/{job['spec']['completions']}" in container["command"][-1]
    assert [mount["name"] for mount in container["volumeMounts"]] == [
        volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]
    ]
