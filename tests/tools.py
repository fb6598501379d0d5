#!/usr/bin/env python3
"""What tools that others keep say of deploy/: hadolint, the schemas of Kubernetes, Compose and GitHub
Actions, Helm, and Grafana's own model of a dashboard. tests/run starts it with the packages of
tests/tools.txt. Every check also sees a seeded fault, so that a tool which has stopped to look is noticed.
"""

import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import helm_python
import jsonschema
import kubernetes_validate
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

ROOT = pathlib.Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "deploy"
BIN = pathlib.Path(sys.executable).parent
CHART = str(DEPLOY / "helm/quittance")
GOLDENS = [ROOT / f"tests/golden/kubernetes-{overlay}.yaml" for overlay in ("local", "production")]
# The oldest version that docs/operations.md promises.
KUBERNETES = "1.30"
# Kinds of operators, whose schemas no release of Kubernetes knows.
OPERATORS = json.loads((ROOT / "tests/schemas/operators.json").read_text())["$defs"]
CUSTOM = {"keda.sh", "monitoring.coreos.com", "rabbitmq.com"}


def documents(text):
    return [one for one in yaml.safe_load_all(text) if one]


def called(thing):
    return f"{thing.get('kind')} {thing.get('metadata', {}).get('name')}"


def run(*command):
    """What a command finds wrong; nothing if it ends well."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [(done.stdout + done.stderr).strip() or f"status {done.returncode}"]


def with_fault(path, old, new, check):
    """Whether `check` finds something in a copy of the file in which `old` is `new`."""
    text = path.read_text()
    if old not in text:
        return [f"{path.name}: nothing to seed a fault in: {old!r}"]
    with tempfile.TemporaryDirectory() as folder:
        copied = pathlib.Path(folder) / path.name
        copied.write_text(text.replace(old, new, 1))
        return [] if check(copied) else [f"{path.name}: not found: {new!r} instead of {old!r}"]


def dockerfile():
    path = DEPLOY / "Dockerfile"

    def check(file):
        return run(BIN / "hadolint", "--no-color", "--failure-threshold", "style", file)

    yield from check(path)
    yield from with_fault(path, "WORKDIR /src", "WORKDIR src", check)
    yield from with_fault(path, "RUN cargo chef", "RUN cd /src && sudo cargo chef", check)


def schemas():
    for schema, path, old, new in (
        ("vendor.compose-spec", DEPLOY / "compose.yaml", "depends_on:", "depend_on:"),
        ("vendor.compose-spec", DEPLOY / "compose.yaml", "condition: service_healthy", "condition: service_well"),
        ("vendor.github-workflows", ROOT / ".github/workflows/ci.yml", "runs-on:", "run-on:"),
    ):

        def check(file, schema=schema):
            return run(BIN / "check-jsonschema", "--builtin-schema", schema, file)

        yield from check(path)
        yield from with_fault(path, old, new, check)


def invalid(thing):
    """What is wrong with one object. An unknown kind is wrong, unless it is an operator's."""
    group = str(thing.get("apiVersion")).split("/", maxsplit=1)[0]
    try:
        if group in CUSTOM:
            jsonschema.validate(thing, OPERATORS.get(thing.get("kind"), False))
        else:
            kubernetes_validate.validate(thing, KUBERNETES, strict=True)
    except jsonschema.ValidationError as error:
        return [f"{called(thing)}: /{'/'.join(str(part) for part in error.path)}: {error.message}"]
    except kubernetes_validate.utils.SchemaNotFoundError as error:
        return [f"{called(thing)}: {error.message}"]
    return []


def kubernetes():
    files = GOLDENS + [path for path in (DEPLOY / "kubernetes").rglob("*.yaml") if path.name != "kustomization.yaml"]
    for path in files:
        for thing in documents(path.read_text()):
            yield from (f"{path.name}: {one}" for one in invalid(thing))
    whole = documents(GOLDENS[1].read_text())
    for kind, place, value in (
        ("Deployment", "spec/template/spec/containers/0/readynessProbe", {}),
        ("Deployment", "apiVersion", "extensions/v1beta1"),
        ("NetworkPolicy", "spec/policyTypes", "Egress"),
        ("ScaledObject", "spec/minReplicas", 2),
        ("ScaledObject", "spec/fallback/behavior", "shrink"),
        ("TriggerAuthentication", "spec/secretTargetRef/0/secret", "x"),
        ("PodMonitor", "spec/podMetricsEndpoints/0/interval", "15"),
        ("PrometheusRule", "spec/groups/0/rules/0/exp", "up"),
        ("RabbitmqCluster", "spec/tls/disableNonTLSListeners", "yes"),
    ):
        bad = copy.deepcopy(next(one for one in whole if one["kind"] == kind))
        *parents, last = place.split("/")
        at = bad
        for part in parents:
            at = at[int(part)] if isinstance(at, list) else at[part]
        at[last] = value
        if not invalid(bad):
            yield f"not found: {kind} {place} = {value!r}"


# What only packaging differs in: the namespace is Helm's business, the settings' name has a hash in
# Kustomize, Helm rolls the pods by an annotation, and by an object's own labels nobody selects.
def normal(thing):
    text = re.sub(r'"quittance-settings-[0-9a-z]{10}"', '"quittance-settings"', json.dumps(thing))
    thing = json.loads(text)
    for field in ("namespace", "labels"):
        thing["metadata"].pop(field, None)
    thing.get("spec", {}).get("template", {}).get("metadata", {}).pop("annotations", None)
    return thing


def keyed(things):
    return {called(one): one for one in map(normal, things) if one["kind"] != "Namespace"}


def differences(left, right, path=""):
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from differences(left.get(key), right.get(key), f"{path}/{key}")
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for at, (one, other) in enumerate(zip(left, right)):
            yield from differences(one, other, f"{path}/{at}")
    elif left != right:
        yield f"{path}: {left!r} and {right!r}"


def chart():
    lint = helm_python.lint(CHART, strict=True)
    yield from (f"lint: {one}" for one in lint.get("messages", []) if "icon is recommended" not in str(one))
    with helm_python.Chart.load(CHART) as loaded:

        def render(values):
            rendered = loaded.render(values, name="quittance", namespace="quittance")
            return [one for text in rendered.values() for one in documents(text)]

        for values in (
            {"verifier": {"replicas": 0}},
            {"image": {"digest": "sha256:1"}},
            {"image": {"digest": ""}},
            {"image": {"digest": "", "tag": "latest"}},
            {"wether": True},
            {"settings": ""},
        ):
            try:
                render(values)
                yield f"values.schema.json takes {values}"
            except helm_python.HelmError:
                pass
        theirs = keyed(documents(GOLDENS[1].read_text()))
        ours = keyed(render({}))
        yield from (f"the chart and Kustomize differ: {one}" for one in differences(ours, theirs))
        other = keyed(render({"terminationGracePeriodSeconds": 50}))
        if len(list(differences(other, theirs))) != 3:
            yield "another value is not told apart in each of the three Deployments"
        if '"registry.example/quittance:dev"' not in json.dumps(render({"image": {"digest": "", "tag": "dev"}})):
            yield "a tag without a digest is not used"
        none = {switch: {"enabled": False} for switch in ("keda", "prometheusOperator", "rabbitmqCluster")}
        plain = render(none)
        for thing in plain:
            if thing["apiVersion"].split("/", maxsplit=1)[0] in CUSTOM:
                yield f"switched off and still there: {called(thing)}"
            yield from (f"without operators: {one}" for one in invalid(thing))


def strangers(dashboard):
    """What Grafana does not know: it is lost on the way through its model."""

    def lost(ours, theirs, path):
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for key, value in ours.items():
                if key in theirs:
                    yield from lost(value, theirs[key], f"{path}/{key}")
                else:
                    yield f"{path}/{key}"
        elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
            for at, (one, other) in enumerate(zip(ours, theirs)):
                yield from lost(one, other, f"{path}/{at}")
        elif ours != theirs:
            yield f"{path}: {ours!r} becomes {theirs!r}"

    try:
        understood = json.loads(JSONEncoder().encode(Dashboard.from_json(dashboard)))
    except Exception as error:  # whatever the model says of a value of another type
        return [str(error)]
    return list(lost(dashboard, understood, ""))


def dashboards():
    register_default_plugins()
    paths = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
    for path in paths:
        yield from (f"{path.name}: unknown to Grafana: {one}" for one in strangers(json.loads(path.read_text())))
    for old, new in (('"unit"', '"units"'), ('"legendFormat"', '"legendFormt"'), ('"reduceOptions"', '"reduceOption"')):
        if not strangers(json.loads(paths[0].read_text().replace(old, new))):
            yield f"{paths[0].name}: not found: {new} instead of {old}"


def main():
    found = 0
    for check in (dockerfile, schemas, kubernetes, chart, dashboards):
        mistakes = list(check())
        found += len(mistakes)
        print(f"{check.__name__}: {len(mistakes) or 'no'} mistakes", *mistakes, sep="\n  ")
    return 1 if found else 0


sys.exit(main())
