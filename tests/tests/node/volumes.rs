//! Every kind of volume, and where environment variables come from.

use barepod_tests::eventually;

use crate::space;

/// A config map and a secret that everything here takes its values from.
fn with_sources(name: &str) -> barepod_tests::Space<'static> {
    let n = space(name);
    n.kubectl("create configmap cm --from-literal=GREETING=hello --from-literal=other=value");
    n.kubectl("create secret generic sec --from-literal=token=s3cret");
    n
}

#[test]
fn environment_from_objects_and_fields() {
    let n = with_sources("env");
    n.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: all, labels: {app: all}, annotations: {note: here}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: tools:1
    command: [sleep, '1000']
    envFrom: [{configMapRef: {name: cm}, prefix: CM_}, {secretRef: {name: sec}}]
    env:
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: SPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: NOTE, valueFrom: {fieldRef: {fieldPath: 'metadata.annotations[''note'']'}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: KEY, valueFrom: {configMapKeyRef: {name: cm, key: other}}}
    - {name: NONE, valueFrom: {configMapKeyRef: {name: absent, key: other, optional: true}}}
    - {name: TOKEN, valueFrom: {secretKeyRef: {name: sec, key: token}}}
    - {name: LIMIT, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
    - {name: COMBINED, value: '$(NAME)-$(CM_GREETING)-$$(NAME)'}
    resources: {limits: {memory: 64Mi, cpu: 250m}, requests: {memory: 32Mi, cpu: 100m}}
",
    );
    n.ready("all");
    let ip = n.field("pod/all", "{.status.podIP}");
    assert_eq!(
        n.sh("all", "echo $NAME $SPACE $NOTE $NODE $IP $KEY [$NONE] $TOKEN $token $LIMIT $COMBINED $CM_other $KUBERNETES_SERVICE_HOST")
            .trim(),
        format!("all env here node-1 {ip} value [] s3cret s3cret 67108864 all-hello-$(NAME) value 10.96.0.1")
    );
    // The limits are in the kernel, on the version of cgroups that this machine has.
    let file = |names: &str| n.sh("all", &format!("cd /sys/fs/cgroup; cat {names} 2>/dev/null || true"));
    assert_eq!(file("memory.max memory/memory.limit_in_bytes").trim(), "67108864");
    let cpu = file("cpu.max cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us");
    assert_eq!(cpu.split_whitespace().collect::<Vec<_>>(), ["25000", "100000"]);
}

#[test]
fn every_kind_of_volume() {
    let n = with_sources("volumes");
    let host = n.cluster.dir().join("host-volume");
    n.apply(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: all, labels: {{app: all}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: tools:1
    command: [sleep, '1000']
    resources: {{limits: {{cpu: 250m}}}}
    volumeMounts:
    - {{name: cm, mountPath: /cm}}
    - {{name: cm, mountPath: /file, subPath: renamed}}
    - {{name: sec, mountPath: /sec}}
    - {{name: info, mountPath: /info}}
    - {{name: disk, mountPath: /disk}}
    - {{name: disk, mountPath: /readonly, readOnly: true}}
    - {{name: mem, mountPath: /mem}}
    - {{name: host, mountPath: /host}}
    - {{name: both, mountPath: /both}}
  - name: other
    image: tools:1
    command: [sleep, '1000']
    volumeMounts: [{{name: disk, mountPath: /elsewhere}}]
  volumes:
  - {{name: cm, configMap: {{name: cm, items: [{{key: other, path: renamed}}]}}}}
  - {{name: sec, secret: {{secretName: sec, defaultMode: 0400}}}}
  - name: info
    downwardAPI:
      items:
      - {{path: labels, fieldRef: {{fieldPath: metadata.labels}}}}
      - {{path: cpu, resourceFieldRef: {{containerName: main, resource: limits.cpu, divisor: 1m}}}}
  - {{name: disk, emptyDir: {{}}}}
  - {{name: mem, emptyDir: {{medium: Memory, sizeLimit: 1Mi}}}}
  - {{name: host, hostPath: {{path: {}, type: DirectoryOrCreate}}}}
  - {{name: both, projected: {{sources: [{{configMap: {{name: cm}}}}, {{secret: {{name: sec}}}}]}}}}
",
        host.display()
    ));
    n.ready("all");
    let sh = |script: &str| n.sh("all -c main", script);
    assert_eq!(
        sh("cat /cm/renamed /file /sec/token /both/GREETING /both/token"),
        "valuevalues3crethellos3cret"
    );
    assert_eq!(sh("stat -Lc %a /sec/token").trim(), "400");
    assert_eq!(sh("cat /info/labels; echo; cat /info/cpu"), "app=\"all\"\n250");
    // Secrets are in memory only, and so is an emptyDir that asks for it.
    assert_eq!(sh("stat -fc %T /sec/token /mem"), "tmpfs\ntmpfs\n");
    sh("echo x >/disk/f; echo y >/mem/f; echo z >/host/f");
    assert_eq!(sh("cat /disk/f /mem/f /readonly/f"), "x\ny\nx\n");
    assert_eq!(n.sh("all -c other", "cat /elsewhere/f"), "x\n");
    assert_eq!(std::fs::read_to_string(host.join("f")).expect("on the node"), "z\n");
    for script in [
        "echo x >/readonly/g",
        "echo x >/cm/g",
        "dd if=/dev/zero of=/mem/big bs=1M count=4",
    ] {
        n.try_sh("all -c main", script).refused();
    }
    // Changed objects reach the volumes of a running pod.
    n.kubectl(r#"patch configmap cm -p '{"data":{"other":"changed"}}'"#);
    n.kubectl(r#"patch secret sec -p '{"stringData":{"token":"new"}}'"#);
    n.kubectl("label pod all tier=front");
    eventually("volumes follow", || {
        let text = sh("cat /cm/renamed /sec/token /both/token; tail -n 1 /info/labels");
        if text == "changednewnewtier=\"front\"" {
            Ok(())
        } else {
            Err(text)
        }
    });
    n.kubectl("delete pod all");
    assert!(host.join("f").exists(), "what is the node's stays");
    std::fs::remove_dir_all(&host).expect("the data is the host's");
}

#[test]
fn what_a_volume_lacks_is_told_and_waited_for() {
    let n = space("lacking");
    n.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: waits}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: 'tools:1', \
         command: [sleep, '1000'], volumeMounts: [{name: cm, mountPath: /cm}]}], volumes: [{name: cm, configMap: {name: later}}]}}",
    );
    let told = n.event("waits", "FailedMount");
    assert!(told.contains("later") && told.contains("not found"), "{told}");
    n.kubectl("create configmap later --from-literal=a=b");
    n.ready("waits");
    assert_eq!(n.sh("waits", "cat /cm/a"), "b");
}
