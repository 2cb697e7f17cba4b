#!/usr/bin/env python3
"""Writes random sequences of updates and applies of a Deployment, with what structured-merge-diff makes of each step.

    sequences.py ANSWERER SEED SEQUENCES STEPS > ../../src/fields/tests/recorded.jsonl

ANSWERER is the program built from main.go. Its schema is derived from src/table/facts.tsv and written to a temporary file.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
from copy import deepcopy

FACTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src", "table", "facts.tsv")
ROOT = "io.k8s.api.apps.v1.Deployment"
SCALARS = {"string": "string", "bytes": "string", "bool": "boolean", "int32": "numeric", "int64": "numeric", "double": "numeric"}


def read_types():
    types, current = {}, None
    with open(FACTS, encoding="utf-8") as f:
        for line in f.read().splitlines():
            columns = line.split("\t") + [""] * 8
            if columns[0] == "T":
                current = {"kind": columns[2], "atomic": columns[3] == "atomic", "fields": []}
                types[columns[1]] = current
            elif columns[0] == "F":
                current["fields"].append(columns[1:8])
    return types


def full(owner, name):
    return name if "." in name or name in SCALARS else owner.rpartition(".")[0] + "." + name


def field_schema(owner, field):
    _name, _number, shape, _flags, listing, _patch, default = field
    name = full(owner, shape.lstrip("[]{}"))
    item = {"scalar": SCALARS[name]} if name in SCALARS else {"namedType": name}
    relationship, _, keys = listing.partition(":")
    if shape.startswith("[]"):
        associative = relationship in ("set", "map")
        schema = {"list": {"elementType": item, "elementRelationship": "associative" if associative else "atomic"}}
        if relationship == "map":
            schema["list"]["keys"] = keys.split(",")
    elif shape.startswith("{}"):
        schema = {"map": {"elementType": item, "elementRelationship": "atomic" if relationship == "atomic" else "separable"}}
    else:
        schema = dict(item, **({"elementRelationship": "atomic"} if relationship == "atomic" else {}))
    entry = {"name": field[0], "type": schema}
    if default not in ("", "{}", '""', "0", "false"):
        entry["default"] = json.loads(default)
    return entry


def schema(types):
    untyped = {"namedType": "untyped"}
    out = [{"name": "untyped", "scalar": "untyped", "list": {"elementType": untyped, "elementRelationship": "atomic"},
            "map": {"elementType": untyped, "elementRelationship": "separable"}}]
    seen, todo = set(), [ROOT]
    while todo:
        name = todo.pop()
        if name in seen or name in SCALARS:
            continue
        seen.add(name)
        of = types[name]
        if of["kind"] in ("raw", "any"):
            out.append({"name": name, "map": {"elementType": untyped, "elementRelationship": "separable"}})
        elif of["kind"] != "struct":
            out.append({"name": name, "scalar": "untyped"})
        else:
            fields = {"fields": [field_schema(name, field) for field in of["fields"]]}
            if of["atomic"]:
                fields["elementRelationship"] = "atomic"
            out.append({"name": name, "map": fields})
            todo += [full(name, field[2].lstrip("[]{}")) for field in of["fields"]]
    return {"types": out}


class Objects:
    """Random objects that share names, so that what one writer does meets what another did."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def maybe(self, probability):
        return self.random.random() < probability

    def pick(self, *values):
        return self.random.choice(values)

    def some(self, values, least=0):
        return self.random.sample(values, self.random.randint(least, len(values)))

    def labels(self):
        return {key: self.pick("x", "y", "z") for key in "abc" if self.maybe(0.5)}

    def env(self, name):
        if self.maybe(0.7):
            return {"name": name, "value": self.pick("1", "2")}
        return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": self.pick("x", "y")}}}

    def port(self, number):
        port = {"containerPort": number}
        if self.maybe(0.5):
            port["protocol"] = "TCP"
        if self.maybe(0.4):
            port["name"] = self.pick("n1", "n2")
        return port

    def container(self, name):
        container = {"name": name, "resources": {}}
        if self.maybe(0.8):
            container["image"] = self.pick("i:1", "i:2", "i:3")
        if self.maybe(0.3):
            container["command"] = self.some(["a", "b", "c"], 1)
        if self.maybe(0.4):
            container["env"] = [self.env(name) for name in self.some(list("ABC"))]
        if self.maybe(0.4):
            container["ports"] = [self.port(number) for number in self.some([80, 81, 82], 1)]
            if self.maybe(0.2):
                container["ports"].append({"containerPort": 80, "protocol": "UDP"})
        if self.maybe(0.4):
            container["resources"] = {kind: {resource: self.pick("1", "2") for resource in ("cpu", "memory") if self.maybe(0.6)}
                                      for kind in ("limits", "requests") if self.maybe(0.6)}
        if self.maybe(0.3):
            choices = {"runAsUser": self.pick(1, 2), "privileged": self.maybe(0.5), "capabilities": {"add": ["A"]}}
            container["securityContext"] = {key: value for key, value in choices.items() if self.maybe(0.5)}
        if self.maybe(0.3):
            get = {"port": 80, **({"path": "/"} if self.maybe(0.5) else {})}
            choices = {"periodSeconds": self.pick(1, 2), "httpGet": get}
            container["livenessProbe"] = {key: value for key, value in choices.items() if self.maybe(0.6)}
        return container

    def volume(self, name):
        source = self.pick({"emptyDir": {}}, {"emptyDir": {"medium": "Memory"}}, {"configMap": {"name": self.pick("x", "y")}}, {})
        return {"name": name, **source}

    def deployment(self):
        metadata, spec, pod = {}, {"strategy": {}}, {}
        for key, make in (("labels", self.labels), ("annotations", self.labels), ("finalizers", lambda: self.some(["f/a", "f/b", "f/c"]))):
            if self.maybe(0.5):
                metadata[key] = make()
        if self.maybe(0.5):
            spec["replicas"] = self.pick(1, 2, 3)
        if self.maybe(0.2):
            spec["paused"] = self.maybe(0.5)
        if self.maybe(0.5):
            spec["selector"] = {"matchLabels": self.labels()}
        if self.maybe(0.4):
            spec["strategy"]["type"] = self.pick("R", "S")
        if self.maybe(0.3):
            choices = {"maxSurge": self.pick(1, "25%"), "maxUnavailable": self.pick(0, 1)}
            spec["strategy"]["rollingUpdate"] = {key: value for key, value in choices.items() if self.maybe(0.6)}
        pod["containers"] = [self.container(name) for name in self.some(list("pqrs"), 1)]
        if self.maybe(0.3):
            pod["nodeSelector"] = self.labels()
        if self.maybe(0.3):
            pod["tolerations"] = [{"key": self.pick("k", "l")}]
        if self.maybe(0.4):
            pod["volumes"] = [self.volume(name) for name in self.some(["v", "w"], 1)]
        if self.maybe(0.3):
            pod["hostAliases"] = [{"ip": ip, "hostnames": ["h"]} for ip in self.some(["1.1.1.1", "2.2.2.2"], 1)]
        if self.maybe(0.3):
            pod["topologySpreadConstraints"] = [{"topologyKey": key, "whenUnsatisfiable": "D", "maxSkew": self.pick(1, 2)}
                                                for key in self.some(["y", "z"], 1)]
        template = {"metadata": {"labels": self.labels()} if self.maybe(0.5) else {}, "spec": pod}
        return {"metadata": metadata, "spec": {**spec, "template": template}, "status": {}}

    def partial(self):
        """A configuration that applies only some fields."""
        config = self.deployment()
        del config["status"]
        if self.maybe(0.5):
            del config["spec"]["template"]["spec"]["containers"]
        for probability, parent, key in ((0.3, config["spec"], "template"), (0.3, config["spec"], "strategy"), (0.3, config, "metadata")):
            if self.maybe(probability):
                del parent[key]
        return config

    def edited(self, before):
        """An object that differs in a few places."""
        after, other = deepcopy(before), self.deployment()
        places = ["metadata.labels", "metadata.finalizers", "spec.replicas", "spec.selector", "spec.strategy", "spec.template.metadata",
                  "spec.template.spec.volumes", "spec.template.spec.nodeSelector", "spec.template.spec.containers"]
        for place in self.random.sample(places, self.random.randint(1, 3)):
            *parents, last = place.split(".")
            to, source = after, other
            for parent in parents:
                to, source = to.setdefault(parent, {}), source[parent]
            if last in source:
                to[last] = source[last]
            else:
                to.pop(last, None)
        return after


def without_nulls(value):
    if isinstance(value, dict):
        return {key: without_nulls(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value if item is not None]
    return value


def as_server(value):
    """What a Go server always has in a Deployment."""
    value = deepcopy(value)
    value.setdefault("metadata", {})
    value.setdefault("status", {})
    spec = value.setdefault("spec", {})
    spec.setdefault("strategy", {})
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    for container in template.setdefault("spec", {}).setdefault("containers", []):
        container.setdefault("resources", {})
    return value


def main():
    answerer, seed, sequences, steps = sys.argv[1], *map(int, sys.argv[2:5])
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(schema(read_types()), file)
        file.flush()
        answers = subprocess.Popen([answerer, file.name, ROOT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        objects = Objects(seed)
        for _ in range(sequences):
            live, managers = as_server({}), {}
            for _ in range(steps):
                apply = objects.maybe(0.6)
                if apply:
                    given = objects.partial() if objects.maybe(0.6) else objects.deployment()
                else:
                    given = as_server(objects.deployment() if objects.maybe(0.15) else objects.edited(live))
                step = {"live": live, "managers": managers, "op": "apply" if apply else "update",
                        "manager": objects.pick("A1", "A2", "A3") if apply else objects.pick("U1", "U2"),
                        "force": objects.maybe(0.6), "object": given}
                answers.stdin.write(json.dumps(step) + "\n")
                answers.stdin.flush()
                answer = without_nulls(json.loads(answers.stdout.readline()))
                print(json.dumps({**step, "result": answer}, separators=(",", ":"), sort_keys=True))
                if "object" in answer:
                    live, managers = as_server(answer["object"]), answer["managers"]
        answers.stdin.close()
        answers.wait()


if __name__ == "__main__":
    main()
