#!/usr/bin/env python3
"""Checks the Helm chart: lints it, refuses bad values, and compares what its default values render
with the production overlay of Kustomize. Not part of tests/run, because Helm is not in Debian:

    python3 -m venv /tmp/helm && /tmp/helm/bin/pip install helm-python-sdk==0.2.2 pyyaml
    /tmp/helm/bin/python deploy/helm/check.py
"""

import pathlib
import re
import sys

import helm_python
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = str(ROOT / "deploy/helm/quittance")
GOLDEN = ROOT / "tests/golden/kubernetes-production.yaml"

# What only packaging differs in: the namespace is Helm's business, the settings' name has a hash in
# Kustomize, and Helm rolls the pods by an annotation instead.
def normal(thing):
    if isinstance(thing, dict):
        thing = {key: normal(value) for key, value in thing.items()}
        thing.pop("namespace", None)
        for labels in ("labels", "annotations"):
            for key in ("app.kubernetes.io/part-of", "checksum/settings"):
                if isinstance(thing.get(labels), dict) and "app.kubernetes.io/component" not in thing[labels]:
                    thing[labels].pop(key, None)
            if labels in thing and not thing[labels]:
                del thing[labels]
        return thing
    if isinstance(thing, list):
        return [normal(one) for one in thing]
    if isinstance(thing, str):
        return re.sub(r"^quittance-settings-[0-9a-z]{10}$", "quittance-settings", thing)
    return thing


def keyed(documents):
    found = {}
    for one in documents:
        if not one or one["kind"] == "Namespace":
            continue
        one = normal(one)
        # The labels of the object itself carry nothing that anything selects by.
        one["metadata"].pop("labels", None)
        found[one["kind"], one["metadata"]["name"]] = one
    return found


def differences(left, right, path=""):
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from differences(left.get(key), right.get(key), f"{path}/{key}")
    elif left != right:
        yield f"{path}: chart {left!r}, kustomize {right!r}"


def main():
    mistakes = []
    lint = helm_python.lint(CHART, strict=True)
    mistakes += [f"lint: {one}" for one in lint.get("messages", []) if "icon is recommended" not in str(one)]
    with helm_python.Chart.load(CHART) as chart:
        bad = ({"verifier": {"replicas": 0}}, {"image": {"digest": "sha256:1"}}, {"wether": True}, {"settings": ""},
               {"image": {"digest": "", "tag": "latest"}}, {"image": {"digest": ""}})
        for values in bad:
            try:
                chart.render(values, name="quittance", namespace="quittance")
                mistakes.append(f"schema: accepted {values}")
            except helm_python.HelmError:
                pass
        by_tag = {"image": {"digest": "", "tag": "dev"}}
        if '"registry.example/quittance:dev"' not in str(chart.render(by_tag, name="quittance", namespace="quittance")):
            mistakes.append("a tag without a digest is not used")
        rendered = chart.render({}, name="quittance", namespace="quittance")
        none = {switch: {"enabled": False} for switch in ("keda", "prometheusOperator", "rabbitmqCluster")}
        plain = chart.render(none, name="quittance", namespace="quittance")
    kinds = {one["kind"] for text in plain.values() for one in yaml.safe_load_all(text) if one}
    custom = kinds & {"ScaledObject", "PodMonitor", "PrometheusRule", "RabbitmqCluster"}
    if custom:
        mistakes.append(f"switched off and still there: {custom}")
    ours = keyed(one for text in rendered.values() for one in yaml.safe_load_all(text))
    theirs = keyed(yaml.safe_load_all(GOLDEN.read_text()))
    for key in sorted(ours.keys() | theirs.keys()):
        mistakes += [f"{key}{one}" for one in differences(ours.get(key), theirs.get(key))]
    print(*mistakes, sep="\n")
    print(f"{len(ours)} objects, {len(mistakes)} mistakes")
    return bool(mistakes)


sys.exit(main())
