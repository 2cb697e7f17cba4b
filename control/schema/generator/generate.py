#!/usr/bin/env python3
"""Writes the table of facts about the Kubernetes API (src/table/facts.tsv).

    generate.py DOCUMENTS > ../src/table/facts.tsv

DOCUMENTS is a folder with what an API server of the wanted release publishes: openapi-v3/*.json, discovery/*.json, and
protobuf-fields.tsv (package, message, number, field, label, type of every message of its .proto files). Only facts are
taken: names, numbers, types, marks and defaults; no prose. The lines of the table are described in src/table/parse.rs.
"""

import glob
import json
import os
import re
import sys
from collections import defaultdict

PREFIX = "#/components/schemas/"

# What a type is when it is not a plain structure of fields. The documents state these only in prose.
SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "raw",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "microtime",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch": "any",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "raw",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intorstring",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "raw",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "schemaorarray",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "schemaorbool",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "schemaorstrings",
}

# Optional numbers and booleans whose zero means "not given": Go clients always put them on the wire, and they vanish in JSON. The
# documents do not tell these from fields whose zero is a statement (replicas: 0), so they are listed here, by type and field.
ZERO_IS_ABSENT = {
    "*": "observedGeneration readOnly minReadySeconds",
    "AWSElasticBlockStoreVolumeSource": "partition",
    "APIServiceSpec": "insecureSkipTLSVerify",
    "Container": "stdin stdinOnce tty",
    "ContainerImage": "sizeBytes",
    "ContainerPort": "hostPort",
    "ContainerStateTerminated": "signal",
    "CustomResourceColumnDefinition": "priority",
    "CustomResourceDefinitionSpec": "preserveUnknownFields",
    "CustomResourceDefinitionVersion": "deprecated",
    "DaemonSetStatus": "numberAvailable numberUnavailable updatedNumberScheduled",
    "DeploymentSpec": "paused",
    "DeploymentStatus": "availableReplicas readyReplicas replicas unavailableReplicas updatedReplicas",
    "DeviceRequest": "count",
    "DeviceSubRequest": "count",
    "EphemeralContainer": "stdin stdinOnce tty",
    "Event": "count deprecatedCount",
    "EventSeries": "count",
    "ExactDeviceRequest": "count",
    "GCEPersistentDiskVolumeSource": "partition",
    "HorizontalPodAutoscalerStatus": "currentReplicas",
    "ISCSIPersistentVolumeSource": "chapAuthDiscovery chapAuthSession",
    "ISCSIVolumeSource": "chapAuthDiscovery chapAuthSession",
    "JobStatus": "active failed succeeded",
    "JSONSchemaProps": "exclusiveMaximum exclusiveMinimum uniqueItems nullable x-kubernetes-embedded-resource x-kubernetes-int-or-string",
    "NodeSpec": "unschedulable",
    "ObjectMeta": "generation",
    "PodSpec": "hostIPC hostNetwork hostPID",
    "PriorityClass": "globalDefault",
    "Probe": "failureThreshold initialDelaySeconds periodSeconds successThreshold timeoutSeconds",
    "ReplicaSetStatus": "availableReplicas fullyLabeledReplicas readyReplicas",
    "ReplicationControllerStatus": "availableReplicas fullyLabeledReplicas readyReplicas",
    "ResourcePolicyRule": "clusterScope",
    "ScaleIOPersistentVolumeSource": "sslEnabled",
    "ScaleIOVolumeSource": "sslEnabled",
    "ServiceBackendPort": "number",
    "ServicePort": "nodePort",
    "ServiceSpec": "healthCheckNodePort publishNotReadyAddresses",
    "StatefulSetStatus": "currentReplicas readyReplicas updatedReplicas",
    "Status": "code",
    "StatusDetails": "retryAfterSeconds",
    "SubjectAccessReviewStatus": "denied",
    "TokenReviewStatus": "authenticated",
}
# Exceptions from the "*" line above, and optional strings whose emptiness is a statement, because they are pointers in Go.
# A type whose namesakes differ is written with its package's last parts.
ZERO_IS_MEANT = {
    "AllocatedDeviceStatus": "shareID",
    "AppArmorProfile": "localhostProfile",
    "AzureDiskVolumeSource": "cachingMode fsType kind readOnly",
    "AzureFilePersistentVolumeSource": "secretNamespace",
    "CSIDriverSpec": "fsGroupPolicy",
    "CSIVolumeSource": "fsType readOnly",
    "ClusterTrustBundleProjection": "name signerName",
    "Container": "restartPolicy",
    "ContainerStatus": "stopSignal",
    "CronJobSpec": "timeZone",
    "CustomResourceDefinitionVersion": "deprecationWarning",
    "CustomResourceSubresourceScale": "labelSelectorPath",
    "DeleteOptions": "propagationPolicy",
    "Device": "nodeName",
    "DeviceAttribute": "string version",
    "DeviceClassSpec": "extendedResourceName",
    "DeviceConstraint": "distinctAttribute matchAttribute",
    "DeviceRequestAllocationResult": "shareID",
    "DeviceTaintSelector": "device driver pool",
    "BasicDevice": "nodeName",
    "Endpoint": "hostname nodeName zone",
    "EndpointAddress": "nodeName",
    "EphemeralContainer": "restartPolicy",
    "EphemeralContainerCommon": "restartPolicy",
    "GRPCAction": "service",
    "GlusterfsPersistentVolumeSource": "endpointsNamespace",
    "HPAScalingRules": "selectPolicy",
    "HorizontalPodAutoscalerStatus": "observedGeneration",
    "HostPathVolumeSource": "type",
    "ISCSIPersistentVolumeSource": "initiatorName",
    "ISCSIVolumeSource": "initiatorName",
    "IngressClassParametersReference": "apiGroup namespace scope",
    "IngressPortStatus": "error",
    "IngressSpec": "ingressClassName",
    "JSONSchemaProps": "$ref x-kubernetes-list-type x-kubernetes-map-type",
    "JobSpec": "completionMode managedBy podReplacementPolicy",
    "JobStatus": "failedIndexes",
    "LeaseSpec": "holderIdentity preferredHolder strategy",
    "Lifecycle": "stopSignal",
    "LoadBalancerIngress": "ipMode",
    "LocalVolumeSource": "fsType",
    "MatchResources": "matchPolicy",
    "MutatingAdmissionPolicySpec": "failurePolicy",
    "MutatingWebhook": "failurePolicy matchPolicy reinvocationPolicy",
    "NamedRuleWithOperations": "scope",
    "NetworkPolicyPort": "protocol",
    "NodeAllocatableResourceMapping": "capacityKey",
    "ParamRef": "parameterNotFoundAction",
    "PersistentVolumeClaimSpec": "storageClassName volumeAttributesClassName volumeMode",
    "PersistentVolumeClaimStatus": "currentVolumeAttributesClassName",
    "PersistentVolumeSpec": "volumeAttributesClassName volumeMode",
    "PodDNSConfigOption": "value",
    "PodDisruptionBudgetSpec": "unhealthyPodEvictionPolicy",
    "PodFailurePolicyOnExitCodesRequirement": "containerName",
    "PodGroupResourceClaim": "resourceClaimName resourceClaimTemplateName",
    "PodGroupResourceClaimStatus": "resourceClaimName",
    "PodGroupSpec": "disruptionMode",
    "PodGroupTemplate": "disruptionMode",
    "PodResourceClaim": "resourceClaimName resourceClaimTemplateName",
    "PodResourceClaimStatus": "resourceClaimName",
    "PodSchedulingGroup": "podGroupName",
    "PodSecurityContext": "fsGroupChangePolicy seLinuxChangePolicy supplementalGroupsPolicy",
    "PodSpec": "hostnameOverride preemptionPolicy runtimeClassName",
    "PoolStatus": "nodeName validationError",
    "PortStatus": "error",
    "Preconditions": "resourceVersion uid",
    "PriorityClass": "preemptionPolicy",
    "ResourceHealth": "message",
    "ResourcePoolStatusRequestSpec": "poolName",
    "Rule": "scope",
    "RuleWithOperations": "scope",
    "SeccompProfile": "localhostProfile",
    "SecurityContext": "procMount",
    "ServicePort": "appProtocol",
    "ServiceReference": "path",
    "ServiceSpec": "internalTrafficPolicy ipFamilyPolicy loadBalancerClass trafficDistribution",
    "StorageClass": "reclaimPolicy volumeBindingMode",
    "StorageVersionStatus": "commonEncodingVersion",
    "SuccessPolicyRule": "succeededIndexes",
    "TopologySpreadConstraint": "nodeAffinityPolicy nodeTaintsPolicy",
    "TypedLocalObjectReference": "apiGroup",
    "TypedObjectReference": "apiGroup namespace",
    "ValidatingAdmissionPolicySpec": "failurePolicy",
    "ValidatingWebhook": "failurePolicy matchPolicy",
    "Validation": "reason",
    "ValidationRule": "reason",
    "VolumeAttachmentSource": "persistentVolumeName",
    "VolumeMount": "mountPropagation recursiveReadOnly",
    "VolumeMountStatus": "recursiveReadOnly",
    "WebhookClientConfig": "url",
    "WindowsSecurityContextOptions": "gmsaCredentialSpec gmsaCredentialSpecName runAsUserName",
    "core.v1.EndpointPort": "appProtocol",
    "discovery.v1.EndpointPort": "appProtocol name protocol",
    "resource.v1.ResourceSliceSpec": "nodeName",
    "resource.v1beta2.ResourceSliceSpec": "nodeName",
    "scheduling.v1alpha2.TypedLocalObjectReference": "",
}


def load(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def proto_name(name):
    """The protobuf message of an OpenAPI type."""
    return name.replace("io.k8s.", "k8s.io.", 1).replace("apiextensions-apiserver", "apiextensions_apiserver").replace(
        "kube-aggregator", "kube_aggregator")


def plain(field):
    """A field's name without what JSON and protobuf spell differently (aPIGroup, Webhooks, xKubernetesListType)."""
    return re.sub(r"[^a-z0-9]", "", field.lower())


class Documents:
    def __init__(self, folder):
        self.schemas = {}
        for path in sorted(glob.glob(os.path.join(folder, "openapi-v3", "*.json"))):
            for name, schema in load(path).get("components", {}).get("schemas", {}).items():
                known = self.schemas.setdefault(name, schema)
                gvks = known.setdefault("x-kubernetes-group-version-kind", [])
                for gvk in schema.get("x-kubernetes-group-version-kind", []):
                    if gvk not in gvks:
                        gvks.append(gvk)
        self.messages = defaultdict(list)
        with open(os.path.join(folder, "protobuf-fields.tsv"), encoding="utf-8") as f:
            for line in f.read().splitlines()[1:]:
                package, message, number, field, _label, kind = line.split("\t")
                self.messages[f"{package}.{message}"].append((int(number), field, kind))
        self.folder = folder

    def message(self, package, kind):
        """The full name of a message that a field of `package` names."""
        kind = kind.lstrip(".")
        return kind if "." in kind else f"{package}.{kind}"


def ref(schema):
    if "$ref" in schema:
        return schema["$ref"].removeprefix(PREFIX)
    if len(schema.get("allOf", [])) == 1:
        return ref(schema["allOf"][0])
    return None


def shape(schema, package):
    target = ref(schema)
    if target:
        return target.rpartition(".")[2] if target.rpartition(".")[0] == package else target
    kind, form = schema.get("type"), schema.get("format")
    if kind == "array":
        return "[]" + shape(schema["items"], package)
    if kind == "object" and "additionalProperties" in schema:
        return "{}" + shape(schema["additionalProperties"], package)
    if kind == "string":
        return "bytes" if form == "byte" else "string"
    if kind == "integer":
        return form or "int64"
    if kind == "number":
        return "double"
    if kind == "boolean":
        return "bool"
    raise ValueError(f"no shape for {schema}")


def listed(table, name, field):
    """Whether a table has a field of a type, under the type's own name or one with its package."""
    parts = name.split(".")
    return field in table.get(".".join(parts[-3:]), table.get(parts[-1], "")).split()


def flags(name, field, schema, required):
    out = ""
    if required:
        out += "r"
    default = schema.get("default")
    scalar = schema.get("type") in ("string", "integer", "boolean", "number")
    if ref(schema) and default == {}:
        out += "s"
    elif scalar and schema.get("format") != "byte":
        number = schema["type"] != "string"
        stated = "default" in schema and default in ("", 0, False)
        absent = not required and (not number or listed(ZERO_IS_ABSENT, name, field) or
                                   (listed(ZERO_IS_ABSENT, "*", field) and not stated))
        if absent and not listed(ZERO_IS_MEANT, name, field):
            out += "z"
    elif schema.get("format") == "byte" and not required:
        out += "z"
    # ServicePort.targetPort is the one optional int-or-string that is not a pointer in Go clients.
    if name.endswith(".ServicePort") and field == "targetPort":
        out += "z"
    return out


def marks(schema):
    listing = schema.get("x-kubernetes-list-type") or schema.get("x-kubernetes-map-type") or ""
    if "x-kubernetes-list-map-keys" in schema:
        listing += ":" + ",".join(schema["x-kubernetes-list-map-keys"])
    patch = schema.get("x-kubernetes-patch-strategy", "")
    if "x-kubernetes-patch-merge-key" in schema:
        patch += ":" + schema["x-kubernetes-patch-merge-key"]
    return listing, patch


def numbers(documents, name, properties):
    """JSON name -> field number, the inlined messages (number, message), and which JSON fields those carry."""
    package, _, _ = proto_name(name).rpartition(".")
    wire = documents.messages.get(proto_name(name), [])
    by_plain = {plain(p): p for p in properties}
    numbered, inlined = {}, []
    for number, field, kind in wire:
        json_name = field if field in properties else by_plain.get(plain(field))
        if json_name is None and "x" + plain(field) in by_plain:
            json_name = by_plain["x" + plain(field)]
        if json_name is None:
            message = documents.message(package, kind)
            if message not in documents.messages:
                raise ValueError(f"{name}: field {field} of {kind} has no JSON counterpart")
            inlined.append((number, message))
        else:
            numbered[json_name] = number
    return numbered, inlined


def write_type(out, documents, name, properties, schema, inline=False):
    within = schema.get("within", name)
    package = within.rpartition(".")[0]
    gvks = schema.get("x-kubernetes-group-version-kind", [])
    # DeleteOptions and WatchEvent belong to every group and version.
    joined = "*" if len(gvks) > 5 else ",".join(f"{g['group']}/{g['version']}/{g['kind']}" for g in gvks)
    special = "inline" if inline else SPECIAL.get(name, "struct")
    out.append("\t".join(["T", name, special, schema.get("x-kubernetes-map-type", ""), joined]))
    if name in SPECIAL:
        return
    numbered, inlined = numbers(documents, name, properties)
    for field in sorted(properties):
        prop = properties[field]
        listing, patch = marks(prop)
        default = json.dumps(prop["default"], separators=(",", ":")) if "default" in prop else ""
        out.append("\t".join([
            "F", field, str(numbered.get(field, 0)), shape(prop, package),
            flags(within, field, prop, field in schema.get("required", [])), listing, patch, default]).rstrip("\t"))
    for number, message in inlined:
        target = message.replace("k8s.io.", "io.k8s.", 1)
        out.append("\t".join(["I", str(number), target]))
        if target not in documents.schemas:
            # A message that exists only on the wire: its fields appear in the JSON of the type that embeds it.
            wire = {plain(field) for _, field, _ in documents.messages[message]}
            INLINE.setdefault(target, ({p: s for p, s in properties.items() if plain(p) in wire},
                                       {"within": name, "required": schema.get("required", [])}))


INLINE = {}


def verbs(entry):
    return ",".join(entry.get("verbs", []))


def write_resources(out, folder):
    groups = [("", ["v1"])] + [(g["name"], [v["version"] for v in g["versions"]])
                               for g in load(os.path.join(folder, "discovery", "apis.json"))["groups"]]
    fresh = {(item["metadata"].get("name", ""), v["version"]): v.get("freshness", "Current")
             for item in load(os.path.join(folder, "discovery", "aggregated_v2.json"))["items"] for v in item["versions"]}
    for group, versions in groups:
        out.append("\t".join(["G", group, ",".join(f"{v}:{fresh.get((group, v), 'Current')}" for v in versions)]))
        for version in versions:
            name = f"apis__{group}__{version}.json" if group else "api__v1.json"
            entries = load(os.path.join(folder, "discovery", name))["resources"]
            for entry in (e for e in entries if "/" not in e["name"]):
                out.append("\t".join([
                    "R", group, version, entry["name"], entry["singularName"], entry["kind"],
                    "N" if entry["namespaced"] else "C", verbs(entry), ",".join(entry.get("shortNames", [])),
                    ",".join(entry.get("categories", []))]).rstrip("\t"))
                for sub in (e for e in entries if e["name"].startswith(entry["name"] + "/")):
                    kind = "/".join([sub.get("group", group), sub.get("version", version), sub["kind"]])
                    out.append("\t".join(["S", sub["name"].partition("/")[2], kind, verbs(sub)]))


def main():
    documents = Documents(sys.argv[1])
    out = ["# Written by control/schema/generator/generate.py; the lines are described in parse.rs."]
    write_resources(out, sys.argv[1])
    for name in sorted(documents.schemas):
        schema = documents.schemas[name]
        write_type(out, documents, name, schema.get("properties", {}), schema)
    for name in sorted(INLINE):
        write_type(out, documents, name, *INLINE[name], inline=True)
    sys.stdout.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
