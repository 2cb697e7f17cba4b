//! kubectl with kinds that a definition brings.

use serde_json::json;

use crate::space;

const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: lamps.tests.barepod}
spec:
  group: tests.barepod
  scope: Namespaced
  names: {plural: lamps, kind: Lamp, shortNames: [lp], categories: [fixtures]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.bulbs, statusReplicasPath: .status.lit}}
    selectableFields: [{jsonPath: .spec.color}]
    additionalPrinterColumns:
    - {name: Color, type: string, jsonPath: .spec.color}
    - {name: Bulbs, type: integer, jsonPath: .spec.bulbs, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        description: Something that shines.
        properties:
          spec:
            type: object
            required: [color]
            properties:
              color: {type: string, enum: [red, blue], description: What it shines in.}
              bulbs: {type: integer, default: 1, maximum: 10}
          status: {type: object, properties: {lit: {type: integer}, phase: {type: string}}}
";

const LAMP: &str = "{apiVersion: tests.barepod/v1, kind: Lamp, metadata: {name: a}, spec: {color: red}}";

#[test]
fn custom_kinds_are_like_others() {
    let n = space("custom");
    n.apply(DEFINITION);
    n.kubectl("wait --for=condition=Established crd/lamps.tests.barepod --timeout=60s");
    assert_eq!(
        n.kubectl("api-resources --categories=fixtures -o name"),
        "lamps.tests.barepod\n"
    );
    let explained = n.kubectl("explain lamp.spec");
    assert!(
        explained.contains("What it shines in.") && explained.contains("-required-"),
        "{explained}"
    );
    assert!(n.apply(LAMP).contains("lamp.tests.barepod/a created"));
    assert!(n.apply(LAMP).contains("unchanged"));
    let words = |line: &str| {
        let table = n.kubectl(line);
        table.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(words("get lp"), ["NAME", "COLOR", "a", "red"]);
    assert_eq!(
        words("get fixtures -o wide"),
        ["NAME", "COLOR", "BULBS", "a", "red", "1"]
    );
    assert_eq!(
        words("get lamps --field-selector spec.color=blue -o name"),
        Vec::<String>::new()
    );
    let blue = LAMP.replace("red", "blue");
    assert_eq!(n.try_with("diff -f -", &blue).code, 1);
    n.with("apply --server-side -f -", &blue);
    assert_eq!(
        words("get lamps --field-selector spec.color=blue -o name"),
        ["lamp.tests.barepod/a"]
    );
    for (patch, said) in [
        (
            r#"{"spec":{"color":"green"}}"#,
            r#"Unsupported value: "green": supported values: "red", "blue""#,
        ),
        (r#"{"spec":{"bulbs":11}}"#, "should be less than or equal to 10"),
    ] {
        let refused = n
            .try_kubectl(&format!("patch lamp a --type=merge -p '{patch}'"))
            .refused();
        assert!(refused.contains(said), "{refused}");
    }
    let strategic = n.try_kubectl("patch lamp a -p '{}'").refused();
    assert!(strategic.contains("is not supported"), "{strategic}");
    n.kubectl("scale lamp a --replicas=3");
    assert_eq!(n.field("lamp/a", "{.spec.bulbs}"), "3");
    n.kubectl(r#"patch lamp a --type=merge --subresource=status -p '{"status":{"phase":"On"}}'"#);
    n.kubectl("wait --for=jsonpath='{.status.phase}'=On lamp/a --timeout=60s");
    let odd = n.try_with("create -f -", &LAMP.replace("red", "red, odd: 1")).refused();
    assert!(odd.contains("unknown field \"spec.odd\""), "{odd}");
    n.kubectl("label lamps --all checked=yes");
    assert_eq!(n.get("lamp a")["metadata"]["labels"], json!({"checked": "yes"}));
    // The garbage collector knows kinds that came after it.
    n.kubectl("delete lamp a --cascade=foreground --timeout=60s");
    n.apply(LAMP);
    n.kubectl("delete lamps --all --cascade=orphan --timeout=60s");
    n.kubectl("delete crd lamps.tests.barepod --timeout=60s");
    n.try_kubectl("get lamps").refused();
}
