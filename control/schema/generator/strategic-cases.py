#!/usr/bin/env python3
"""Writes src/patch/strategic/kubectl.json: patches and what `kubectl patch --local` makes of them.

    strategic-cases.py > ../src/patch/strategic/kubectl.json
"""

import json
import subprocess

pod={"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","labels":{"a":"1","b":"2"},"finalizers":["x","y"]},"spec":{"containers":[{"name":"a","image":"a:1","ports":[{"containerPort":80,"name":"w"},{"containerPort":81}],"args":["1","2"],"env":[{"name":"A","value":"1"},{"name":"B","value":"2"}],"resources":{"limits":{"cpu":"1"}}},{"name":"b","image":"b:1"},{"name":"c","image":"c:1"}],"volumes":[{"name":"v","emptyDir":{}},{"name":"w","hostPath":{"path":"/x"}}],"nodeSelector":{"k":"v","l":"m"},"tolerations":[{"key":"t"}],"imagePullSecrets":[{"name":"s1"},{"name":"s2"}]}}
dep={"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":3,"selector":{"matchLabels":{"a":"b"}},"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":"25%"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"a:1"},{"name":"z","image":"z"}]}}}}
svc={"apiVersion":"v1","kind":"Service","metadata":{"name":"s"},"spec":{"ports":[{"port":80,"name":"http","targetPort":80},{"port":443,"name":"https","targetPort":443}],"selector":{"a":"b"}}}
sa={"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"s"},"secrets":[{"name":"a"},{"name":"b"}],"imagePullSecrets":[{"name":"p"}]}
cases=[
(pod,{"metadata":{"labels":{"a":None,"c":"3"}}}),
(pod,{"metadata":{"finalizers":["z","x"]}}),
(pod,{"metadata":{"$deleteFromPrimitiveList/finalizers":["x"]}}),
(pod,{"metadata":{"$deleteFromPrimitiveList/finalizers":["x"],"$setElementOrder/finalizers":["z","y"],"finalizers":["z"]}}),
(pod,{"spec":{"containers":[{"name":"b","image":"b:2"},{"name":"n","image":"n"}]}}),
(pod,{"spec":{"containers":[{"name":"a","$patch":"delete"}]}}),
(pod,{"spec":{"containers":[{"$patch":"replace"},{"name":"q","image":"q"}]}}),
(pod,{"spec":{"$setElementOrder/containers":[{"name":"c"},{"name":"n"},{"name":"a"}],"containers":[{"name":"n","image":"n"},{"name":"b","$patch":"delete"}]}}),
(pod,{"spec":{"$setElementOrder/containers":[{"name":"c"},{"name":"a"}],"containers":[{"name":"c","image":"c:9"}]}}),
(pod,{"spec":{"$setElementOrder/containers":[{"name":"c"},{"name":"b"},{"name":"a"}]}}),
(pod,{"spec":{"containers":[{"name":"a","ports":[{"containerPort":81,"name":"x"},{"containerPort":82}],"args":["9"],"env":[{"name":"B","value":None,"valueFrom":{"fieldRef":{"fieldPath":"metadata.name"}}}]}]}}),
(pod,{"spec":{"containers":[{"name":"a","resources":{"$patch":"replace","requests":{"cpu":"2"}}}]}}),
(pod,{"spec":{"containers":[{"name":"a","resources":None}]}}),
(pod,{"spec":{"volumes":[{"name":"v","$retainKeys":["name","configMap"],"configMap":{"name":"c"}}]}}),
(pod,{"spec":{"volumes":[{"name":"v","emptyDir":None,"configMap":{"name":"c"}}]}}),
(pod,{"spec":{"nodeSelector":{"$patch":"delete"}}}),
(pod,{"spec":{"nodeSelector":{"$patch":"replace","z":"y"}}}),
(pod,{"spec":{"nodeSelector":{"k":None}}}),
(pod,{"spec":{"tolerations":[{"key":"u"}]}}),
(pod,{"spec":{"tolerations":None}}),
(pod,{"spec":{"imagePullSecrets":[{"name":"s3"},{"name":"s1"}]}}),
(pod,{"spec":{"initContainers":[{"name":"i","image":"i"}]}}),
(dep,{"spec":{"replicas":0,"template":{"spec":{"$setElementOrder/containers":[{"name":"a"},{"name":"z"}],"containers":[{"name":"a","image":"a:2"}]}}}}),
(dep,{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}),
(dep,{"spec":{"strategy":{"$retainKeys":["type","rollingUpdate"],"rollingUpdate":{"maxSurge":2}}}}),
(dep,{"spec":{"strategy":{"rollingUpdate":None,"type":"Recreate"}}}),
(svc,{"spec":{"ports":[{"port":80,"targetPort":8080}]}}),
(svc,{"spec":{"ports":[{"port":443,"$patch":"delete"},{"port":90,"name":"n"}]}}),
(svc,{"spec":{"$setElementOrder/ports":[{"port":8443},{"port":80}],"ports":[{"port":8443,"name":"q"},{"$patch":"delete","port":443}]}}),
(sa,{"secrets":[{"name":"c"}]}),
(sa,{"secrets":[{"name":"a","$patch":"delete"}],"imagePullSecrets":[]}),
(sa,{"$setElementOrder/secrets":[{"name":"b"},{"name":"a"}]}),
# errors
(pod,{"spec":{"containers":[{"image":"x"}]}}),
(pod,{"spec":{"containers":[{"name":"a","$patch":"bogus"}]}}),
(pod,{"spec":{"nodeSelector":{"$patch":"bogus"}}}),
(dep,{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate","rollingUpdate":{}}}}),
(pod,{"spec":{"$setElementOrder/containers":[{"name":"a"}],"containers":[{"name":"n","image":"n"}]}}),
]
out = []
for before, change in cases:
    command = ["kubectl", "patch", "--local", "-f", "-", "--type", "strategic", "-p", json.dumps(change), "-o", "json"]
    done = subprocess.run(command, input=json.dumps(before), capture_output=True, text=True)
    after = {"error": done.stderr.strip()} if done.returncode else {"result": json.loads(done.stdout)}
    out.append({"object": before, "patch": change, **after})
print("[\n" + ",\n".join(json.dumps(case, separators=(",", ":")) for case in out) + "\n]")
