"""The Python client of Kubernetes as its users have it: typed and dynamic, with watch, exec and logs.

Run by tests/tests/node/clients.rs with KUBECONFIG, the namespace as its argument."""

import sys
import threading

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

namespace = sys.argv[1]
config.load_kube_config()
core, apps = client.CoreV1Api(), client.AppsV1Api()


def refused(code, reason, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except ApiException as error:
        assert error.status == code and f'"reason":"{reason}"' in error.body.replace(" ", ""), error
    else:
        raise AssertionError(f"{reason} was expected")


# Typed: create, read, list in pages, patch, replace, conflict, delete.
meta = client.V1ObjectMeta(name="typed", labels={"app": "python"})
made = core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=meta, data={"a": "1"}))
assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo
refused(409, "AlreadyExists", core.create_namespaced_config_map, namespace, client.V1ConfigMap(metadata=meta))
refused(404, "NotFound", core.read_namespaced_config_map, "none", namespace)
for number in range(5):
    body = {"metadata": {"name": f"page-{number}", "labels": {"app": "pages"}}}
    core.create_namespaced_config_map(namespace, body)
names, token = [], None
while True:
    page = core.list_namespaced_config_map(namespace, limit=2, _continue=token)
    names += [item.metadata.name for item in page.items]
    token = page.metadata._continue
    if not token:
        break
assert set(names) >= {"typed", *(f"page-{number}" for number in range(5))} and len(names) == len(set(names)), names
assert core.patch_namespaced_config_map("typed", namespace, {"data": {"b": "2"}}).data == {"a": "1", "b": "2"}
made.data = {"a": "3"}
refused(409, "Conflict", core.replace_namespaced_config_map, "typed", namespace, made)
core.delete_collection_namespaced_config_map(namespace, label_selector="app=pages")
left = core.list_namespaced_config_map(namespace, label_selector="app in (pages, python)").items
assert [item.metadata.name for item in left] == ["typed"]
assert client.VersionApi().get_code().git_version.startswith("v1.")
assert any(group.name == "apps" for group in client.ApisApi().get_api_versions().groups)

# Watch: what was there, what comes, its end, and a version that is too old.
seen = []


def follow():
    watcher = watch.Watch()
    for event in watcher.stream(core.list_namespaced_config_map, namespace, label_selector="app=watched", timeout_seconds=60):
        seen.append((event["type"], event["object"].metadata.name))
        if event["type"] == "DELETED":
            watcher.stop()


core.create_namespaced_config_map(namespace, {"metadata": {"name": "w1", "labels": {"app": "watched"}}})
thread = threading.Thread(target=follow)
thread.start()
while not seen:
    thread.join(0.01)
core.create_namespaced_config_map(namespace, {"metadata": {"name": "w2", "labels": {"app": "watched"}}})
core.patch_namespaced_config_map("w2", namespace, {"data": {"a": "1"}})
core.delete_namespaced_config_map("w1", namespace)
thread.join(60)
assert seen == [("ADDED", "w1"), ("ADDED", "w2"), ("MODIFIED", "w2"), ("DELETED", "w1")], seen

# A pod: logs, exec with and without a stream of its own, its end.
spec = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "python"},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "main", "image": "tools:1", "command": ["sh", "-c", "echo from the log; exec sleep 1000"]}],
    },
}
utils.create_from_dict(client.ApiClient(), spec, namespace=namespace)
for event in watch.Watch().stream(core.list_namespaced_pod, namespace, field_selector="metadata.name=python", timeout_seconds=60):
    pod = event["object"]
    if any(c.type == "Ready" and c.status == "True" for c in pod.status.conditions or []):
        break
else:
    raise AssertionError("the pod does not become ready")
lines = watch.Watch().stream(core.read_namespaced_pod_log, "python", namespace, follow=True)
assert next(iter(lines)) == "from the log"
execute = core.connect_get_namespaced_pod_exec
options = {"stderr": True, "stdin": False, "stdout": True, "tty": False}
said = stream(execute, "python", namespace, command=["sh", "-c", "echo out; echo err >&2"], **options)
assert sorted(said.split()) == ["err", "out"], said
shell = stream(execute, "python", namespace, command=["sh"], _preload_content=False, **{**options, "stdin": True})
# This client waits for the socket although TLS has a message already: what opens the stream is to be read before more comes.
shell.update(timeout=60)
shell.write_stdin("echo $((6 * 7))\n")
assert shell.readline_stdout(timeout=60) == "42"
shell.write_stdin("exit 3\n")
shell.run_forever(timeout=60)
assert shell.returncode == 3, shell.returncode
core.delete_namespaced_pod("python", namespace)

# Dynamic: discovery, apply, scale, watch.
dynamic_client = dynamic.DynamicClient(client.ApiClient())
deployments = dynamic_client.resources.get(api_version="apps/v1", kind="Deployment")
template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "tools:1", "command": ["sleep", "1000"]}]}}
body = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template},
}
deployments.server_side_apply(body=body, name="web", namespace=namespace, field_manager="python", force_conflicts=True)
assert deployments.get(name="web", namespace=namespace).spec.replicas == 0
deployments.scale.patch(body={"spec": {"replicas": 1}}, name="web", namespace=namespace, content_type="application/merge-patch+json")
for event in deployments.watch(namespace=namespace, name="web", timeout=60):
    if event["object"].status.readyReplicas == 1:
        break
else:
    raise AssertionError("the deployment does not become ready")
assert apps.read_namespaced_deployment_scale("web", namespace).status.replicas == 1
deployments.delete(name="web", namespace=namespace, body={"propagationPolicy": "Foreground"})
tables = dynamic_client.resources.get(api_version="v1", kind="Namespace")
assert namespace in [item.metadata.name for item in tables.get().items]
print("all is well")
