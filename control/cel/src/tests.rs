use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::*;

/// What an expression over `x` comes to, in words.
fn value(source: &str, x: &Json) -> String {
    let env = Env::new().variable("x", Type::Dyn);
    let program = match env.compile(source) {
        Ok(program) => program,
        Err(issues) => return format!("! {}", issues.list[0].message),
    };
    let outcome = program.evaluate(&[("x", Value::data(x))], PER_CALL_LIMIT);
    match outcome.value {
        Ok(value) => match value.to_json() {
            Some(json) => json.to_string(),
            None => value.type_name().to_owned(),
        },
        Err(error) => format!("? {error}"),
    }
}

fn all(cases: &[(&str, &str)]) {
    let x = json!({"a": 1, "b": [3, 1, 2], "c": {"k": "v"}, "s": "Hello", "n": null, "f": 1.5});
    for (source, wanted) in cases {
        assert_eq!(value(source, &x), *wanted, "{source}");
    }
}

#[test]
fn operators_and_literals() {
    all(&[
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3 - -4", "13"),
        ("7 / 2 + 7 % 4", "6"),
        ("1 / 0", "? division by zero"),
        ("9223372036854775807 + 1", "? integer overflow"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("0x1F + 1", "32"),
        ("2u + 3u", "5"),
        ("1.5e2 + .5", "150.5"),
        ("1 < 2 && 2u > 1 && 1.5 >= 1", "true"),
        (
            "1 == 1.0",
            "! found no matching overload for '_==_' applied to '(int, double)'",
        ),
        ("dyn(1) == 1.0", "true"),
        ("'a' + \"b\" + r'\\n' + '''c'd'''", "\"ab\\\\nc'd\""),
        ("'\\x41\\u00e9\\101'", "\"AéA\""),
        ("b'\\xff' == b'\\377'", "true"),
        ("true ? 1 : 2", "1"),
        ("!true || !!true", "true"),
        ("[1, 2] + [3]", "[1,2,3]"),
        ("[1, 'a']", "! expected type 'int' but found 'string'"),
        ("{'a': 1, 'b': 2}.b", "2"),
        ("{'a': 1}['c']", "? no such key: c"),
        ("[1][1]", "? index out of bounds: 1"),
        ("2 in [1, 2] && 'a' in {'a': 1}", "true"),
        ("x.nope", "? no such key: nope"),
        ("x.nope || true", "true"),
        ("true && x.nope", "? no such key: nope"),
        ("has(x.a) && !has(x.nope)", "true"),
        ("y", "! undeclared reference to 'y' (in container '')"),
        ("foo(1)", "! undeclared reference to 'foo' (in container '')"),
        ("1 +", "! Syntax error: mismatched input '<EOF>'"),
        ("for", "! reserved identifier: for"),
        ("type(x.a) == int && type('') == string && type([]) == list", "true"),
        (
            "type(timestamp('2024-01-01T00:00:00Z')) == google.protobuf.Timestamp",
            "true",
        ),
        ("x.n == null", "true"),
        ("x.a == null", "false"),
        ("1 // comment\n + 1", "2"),
    ]);
}

#[test]
fn macros() {
    all(&[
        (
            "x.b.all(i, i > 0) && x.b.exists(i, i == 2) && x.b.exists_one(i, i > 2)",
            "true",
        ),
        ("x.b.map(i, i * 2)", "[6,2,4]"),
        ("x.b.map(i, i > 1, i * 2)", "[6,4]"),
        ("x.b.filter(i, i > 1)", "[3,2]"),
        ("x.c.all(k, x.c[k] == 'v')", "true"),
        ("[1, 'z'.size()].all(i, i == 1)", "true"),
        ("x.b.all(i, v, i < 3 && v > 0)", "true"),
        ("x.c.exists(k, v, k + v == 'kv')", "true"),
        ("x.b.transformList(i, v, v + i)", "[3,2,4]"),
        ("x.b.transformList(i, v, v > 1, v + i)", "[3,4]"),
        ("{'a': 1}.transformMap(k, v, v + 1)", "{\"a\":2}"),
        ("{'a': 'b'}.transformMapEntry(k, v, {v: k})", "{\"b\":\"a\"}"),
        (
            "{'a': 1, 'b': 1}.transformMapEntry(k, v, {'c': v})",
            "? insert failed: key c already exists",
        ),
        ("cel.bind(y, x.a + 1, y * y)", "4"),
        ("[0, 1].exists(i, 1 / i == 1)", "true"),
        ("[0, 1].all(i, 1 / i == 1)", "? division by zero"),
        ("[0, 1].all(i, 1 / i == 2)", "false"),
        (
            "1.all(i, true)",
            "! expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("[1].all(1, true)", "! argument must be a simple name in all()"),
        ("[[1, 2], [3]].map(l, l.map(i, i + 1))", "[[2,3],[4]]"),
    ]);
}

#[test]
fn optionals() {
    all(&[
        ("x.?a.orValue(5)", "1"),
        ("x.?nope.?deep.orValue(5)", "5"),
        ("x.?c.k.orValue('')", "\"v\""),
        ("x.?nope.hasValue()", "false"),
        ("x.b[?1].value()", "1"),
        ("x.b[?9].hasValue()", "false"),
        ("optional.none().or(optional.of(2)).value()", "2"),
        ("optional.none().value()", "? optional.none() dereference"),
        ("x.?a.optMap(v, v + 1).orValue(0)", "2"),
        ("x.?a.optFlatMap(v, optional.none()).hasValue()", "false"),
        ("optional.ofNonZeroValue('').hasValue()", "false"),
        ("[1, ?optional.none(), ?optional.of(2)]", "[1,2]"),
        ("{?'a': x.?a, ?'b': x.?nope}", "{\"a\":1}"),
        ("[optional.of(1), optional.none()].unwrapOpt()", "[1]"),
    ]);
}

#[test]
fn texts() {
    all(&[
        (
            "x.s.contains('ell') && x.s.startsWith('He') && x.s.endsWith('lo') && x.s.matches('^H.*o$')",
            "true",
        ),
        (
            "'x'.matches('[')",
            "! invalid matches argument: error parsing regexp: found unclosed character class: `[`",
        ),
        ("size('héé') == 3 && 'héé'.size() == 3", "true"),
        ("'tacocat'.charAt(3) + 'tacocat'.charAt(7)", "\"o\""),
        ("'tacocat'.indexOf('c', 3)", "4"),
        ("'tacocat'.lastIndexOf('c')", "4"),
        ("'tacocat'.lastIndexOf('c', 3)", "2"),
        ("'A b '.lowerAscii().trim().upperAscii()", "\"A B\""),
        (
            "'hello'.replace('l', 'L', 1) + 'hello'.replace('l', '')",
            "\"heLloheo\"",
        ),
        ("'a,b,c'.split(',', 2)", "[\"a\",\"b,c\"]"),
        ("'abc'.split('')", "[\"a\",\"b\",\"c\"]"),
        ("'tacocat'.substring(4) + 'tacocat'.substring(0, 4)", "\"cattaco\""),
        ("'abc'.substring(2, 1)", "? invalid substring range. start: 2, end: 1"),
        ("['a', 'b'].join('-') + ['c'].join()", "\"a-bc\""),
        (
            "'%s is %d, %.2f, %x %e %s'.format(['a', 3, 1.005, 255, 12345.678, ['b']])",
            "\"a is 3, 1.00, ff 1.234568e+04 [\\\"b\\\"]\"",
        ),
        (
            "'%d'.format(['a'])",
            "? error during formatting: decimal clause can only be used on numbers, was given string",
        ),
        ("strings.quote('a\\n\"b\"')", "\"\\\"a\\\\n\\\\\\\"b\\\\\\\"\\\"\""),
        ("'abc 123'.find('[0-9]+') + 'none'.find('[0-9]')", "\"123\""),
        ("'123 abc 456'.findAll('[0-9]+')", "[\"123\",\"456\"]"),
        ("'123 abc 456'.findAll('[0-9]+', 1)", "[\"123\"]"),
    ]);
}

#[test]
fn conversions_and_times() {
    all(&[
        ("int('12') + int(1.9) + int(3u)", "16"),
        ("int(1e30)", "? integer overflow"),
        ("uint(-1)", "? integer overflow"),
        (
            "string(1) + string(1.5) + string(true) + string(b'a') + string(1e30)",
            "\"11.5truea1e+30\"",
        ),
        ("double('1.5') + 1.0", "2.5"),
        ("bool('true')", "true"),
        ("duration('1h30m').getMinutes() + duration('90s').getSeconds()", "180"),
        ("string(duration('1.5s')) + string(duration('-2m'))", "\"1.5s-120s\""),
        ("duration('abc')", "! invalid duration argument"),
        ("timestamp('2024-02-03T04:05:06Z').getMonth()", "1"),
        ("timestamp('2024-02-03T04:05:06Z').getHours('+02:00')", "6"),
        (
            "timestamp('2024-02-03T04:05:06Z') + duration('24h') > timestamp('2024-02-04T00:00:00Z')",
            "true",
        ),
        (
            "timestamp('2024-02-03T04:05:06Z') - timestamp('2024-02-03T04:05:00Z') == duration('6s')",
            "true",
        ),
        ("int(timestamp('1970-01-01T00:01:00Z'))", "60"),
    ]);
}

#[test]
fn lists_and_sets() {
    all(&[
        ("[1, 2, 3].sum() + [3, 1].min() + [2, 5].max()", "12"),
        ("[1.5, 2.0].sum()", "3.5"),
        ("['a', 'b', 'b'].isSorted() && ![2, 1].isSorted()", "true"),
        ("[1, 2, 1].indexOf(1) + [1, 2, 1].lastIndexOf(1)", "2"),
        ("x.b.sum()", "6"),
        ("x.b.max()", "3"),
        (
            "sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])",
            "true",
        ),
    ]);
}

#[test]
fn kubernetes_libraries() {
    all(&[
        (
            "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('50k').isLessThan(quantity('1M'))",
            "true",
        ),
        (
            "quantity('50k').add(20).sub(quantity('20')).compareTo(quantity('50k'))",
            "0",
        ),
        (
            "isQuantity('1.5Gi') && !isQuantity('1 Gi') && quantity('2').isInteger()",
            "true",
        ),
        ("quantity('1500m').asApproximateFloat()", "1.5"),
        ("quantity('500m').asInteger()", "? cannot convert value to integer"),
        ("quantity('1k') == quantity('1000')", "true"),
        (
            "url('https://u@example.com:80/a b?x=1&x=2').getHost()",
            "\"example.com:80\"",
        ),
        (
            "url('https://example.com:80/path?x=1&x=2').getQuery()",
            "{\"x\":[\"1\",\"2\"]}",
        ),
        (
            "url('https://[::1]:80/').getHostname() + url('https://e.com:80/').getPort()",
            "\"::180\"",
        ),
        ("url('/a b').getEscapedPath()", "\"/a%20b\""),
        (
            "isURL('https://example.com') && isURL('/path') && !isURL('../x') && !isURL('example')",
            "true",
        ),
        ("ip('192.168.0.1').family() + ip('::1').family()", "10"),
        (
            "isIP('127.0.0.1') && !isIP('127.0.0.256') && !isIP('::ffff:1.2.3.4') && ip('127.0.0.1').isLoopback()",
            "true",
        ),
        (
            "ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD')",
            "true",
        ),
        (
            "cidr('10.1.2.3/8').containsIP('10.200.0.1') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1'))",
            "true",
        ),
        (
            "cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16')) && !cidr('10.1.0.0/16').containsCIDR('10.0.0.0/8')",
            "true",
        ),
        (
            "string(cidr('10.1.2.3/8').masked()) + string(cidr('::1/64').ip())",
            "\"10.0.0.0/8::1\"",
        ),
        ("cidr('10.1.2.3/8').prefixLength()", "8"),
        ("isCIDR('10.0.0.0/33') || isCIDR('10.0.0.0')", "false"),
        (
            "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
            "true",
        ),
        ("semver('v1.02', true).minor() + semver('1.2.3+b').patch()", "5"),
        ("isSemver('1.0') || isSemver('v1.0.0') || isSemver('01.0.0')", "false"),
        ("format.dns1123Label().validate('ok').hasValue()", "false"),
        (
            "format.named('dns1123Label').value().validate('No!').value().size()",
            "1",
        ),
        ("format.named('nope').hasValue()", "false"),
        (
            "format.qualifiedName().validate('a.b/c').hasValue() || format.date().validate('2021-01-32').hasValue()",
            "true",
        ),
    ]);
}

#[test]
fn errors_show_where_they_are() {
    let env = Env::new().declare(
        "self",
        &Decl::of_schema(
            &json!({"type": "object", "properties": {"a": {"type": "integer"}}}),
            false,
        )
        .unwrap(),
    );
    let error = env.compile("self.a > 1 &&\nself.b == 2").unwrap_err().to_string();
    assert_eq!(
        error,
        "ERROR: <input>:2:5: undefined field 'b'\n | self.b == 2\n | ....^"
    );
    let error = env.compile("self.a == 'x'").unwrap_err().to_string();
    assert_eq!(
        error,
        "ERROR: <input>:1:8: found no matching overload for '_==_' applied to '(int, string)'\n | self.a == 'x'\n | .......^"
    );
}

#[test]
fn declared_data_has_types_and_escaped_names() {
    let decl = Decl::of_schema(
        &json!({"type": "object", "properties": {
            "when": {"type": "string", "format": "date-time"}, "for": {"type": "string", "format": "duration"},
            "raw": {"type": "string", "format": "byte"}, "share": {"type": "number"}, "any": {"x-kubernetes-int-or-string": true},
            "a-b.c/d__e": {"type": "string"}, "namespace": {"type": "string"},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items":
                {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}),
        true,
    )
    .unwrap();
    let data = json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "n", "labels": {}}, "when": "2024-01-01T00:00:00Z",
        "for": "90s", "raw": "YWI=", "share": 1, "any": 3, "a-b.c/d__e": "x", "namespace": "ns", "set": ["a", "b"],
        "map": [{"k": "1", "v": 1}, {"k": "2", "v": 2}], "open": {"free": 1}});
    let env = Env::new().declare("self", &decl);
    for source in [
        "self.when.getFullYear() == 2024",
        "self.__for__ == duration('1m30s')",
        "self.raw == b'ab' && self.share == 1.0",
        "type(self.any) == int ? self.any < 5 : self.any == 'x'",
        "self.a__dash__b__dot__c__slash__d__underscores__e == 'x'",
        "self.namespace == 'ns' && has(self.namespace) && self.for == self.__for__",
        "self.__namespace__ == 'ns' && self.metadata.name == 'n' && !has(self.metadata.generateName)",
        "self.set == ['b', 'a'] && (self.set + ['a', 'c']).size() == 3",
        "self.map.exists(i, i.k == '2' && i.v == 2)",
        "self.map.all(i, self.map.exists_one(j, i == j))",
    ] {
        let program = env
            .compile(source)
            .unwrap_or_else(|issues| panic!("{source}: {issues}"));
        let outcome = program.evaluate(&[("self", Value::declared(&data, &decl))], PER_CALL_LIMIT);
        assert_eq!(outcome.value.unwrap().as_bool(), Some(true), "{source}");
    }
    for (source, message) in [
        ("self.open.free == 1", "undefined field 'free'"),
        ("self.metadata.labels.size() == 0", "undefined field 'labels'"),
        (
            "self.share == 1",
            "found no matching overload for '_==_' applied to '(double, int)'",
        ),
    ] {
        assert_eq!(env.compile(source).unwrap_err().list[0].message, message);
    }
}

/// The figures are those that kube-apiserver v1.36 was measured with: the most items of a list for which it takes the rule.
#[test]
fn worst_cases_are_those_of_kubernetes() {
    for (length, each) in [(16, 11), (63, 30), (253, 106), (1024, 414)] {
        let schema = json!({"type": "array", "maxItems": 1000, "items": {"type": "string", "maxLength": length}});
        let decl = Decl::of_schema(&schema, false).unwrap();
        let program = Env::new()
            .declare("self", &decl)
            .compile("self.all(x, x.contains('gpu'))")
            .unwrap();
        let most = program.estimate().most;
        assert!((1000 * each..1000 * each + 10).contains(&most), "{length}: {most}");
    }
}

#[test]
fn costs_are_counted_and_limited() {
    let items: Vec<u64> = (0..2000).collect();
    let x = json!({ "l": items });
    let env = Env::new().variable("x", Type::Dyn);
    let program = env.compile("x.l.all(i, i >= 0)").unwrap();
    let variables = [("x", Value::data(&x))];
    let outcome = program.evaluate(&variables, PER_CALL_LIMIT);
    // The list, and five for every item: the condition, what came out so far, and the comparison.
    assert_eq!(
        (outcome.value.unwrap().as_bool(), outcome.cost),
        (Some(true), 2 + 2000 * 5 + 1)
    );
    let outcome = program.evaluate(&variables, 1000);
    assert_eq!(outcome.value.unwrap_err(), EvalError::CostLimit);
    let nested = env
        .compile("x.l.all(i, x.l.all(j, x.l.all(k, i + j + k >= 0)))")
        .unwrap();
    assert_eq!(
        nested.evaluate(&variables, PER_CALL_LIMIT).value.unwrap_err(),
        EvalError::CostLimit
    );
    let hidden = env
        .compile("x.l.all(i, x.l.all(j, x.l.exists(k, k < 0) == false)) || true")
        .unwrap();
    assert_eq!(
        hidden.evaluate(&variables, PER_CALL_LIMIT).value.unwrap_err(),
        EvalError::CostLimit
    );
}

#[test]
fn what_grows_by_itself_is_stopped() {
    let mut lists = "[1, 1, 1, 1]".to_owned();
    let mut trees = "[1, 1]".to_owned();
    for level in 0..40 {
        lists = format!("cel.bind(a{level}, {lists}, a{level} + a{level})");
        trees = format!("cel.bind(a{level}, {trees}, [a{level}, a{level}])");
    }
    for source in [
        format!("{lists}.size() > 0"),
        format!("{trees} == {trees}"),
        format!("'%s'.format([{trees}]) == ''"),
    ] {
        assert_eq!(
            value(&source, &Json::Null),
            "? operation cancelled: actual cost limit exceeded"
        );
    }
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    assert!(value(&deep, &Json::Null).starts_with("! expression recursion limit exceeded"));
    assert!(
        value(&format!("1{}", "+1".repeat(5000)), &Json::Null).starts_with("! expression recursion limit exceeded")
    );
    assert!(value(&format!("{}true", "!-".repeat(3000)), &Json::Null).starts_with("! "));
    assert_eq!(value(&format!("true{}", " && true".repeat(5000)), &Json::Null), "true");
}

/// Any text is read to an end, and whatever is a program runs to one.
#[test]
fn no_source_is_too_bad() {
    const PIECES: [&str; 46] = [
        "x",
        ".a",
        ".b",
        "[0]",
        "[?1]",
        ".?c",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "'a'",
        "1",
        "2u",
        "1.5",
        "true",
        "null",
        "+",
        "-",
        "*",
        "/",
        "%",
        "<",
        "==",
        "&&",
        "||",
        "!",
        "?",
        ":",
        ",",
        ".all(i, ",
        ".map(i, ",
        ".size()",
        "has(",
        "in",
        ".split('')",
        ".format([x])",
        ".join()",
        "duration('1s')",
        "b'\\xff'",
        "'''",
        "\"",
        "\\",
        "ü",
        "cel.bind(i, ",
    ];
    let x = json!({"a": 1, "b": [1, "a", {"c": null}], "c": {"d": 1.5}});
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    };
    let (mut programs, mut values) = (0, 0);
    for _ in 0..30_000 {
        let count = 1 + random(9);
        let source: String = (0..count).map(|_| PIECES[random(PIECES.len())]).collect();
        let found = value(&source, &x);
        programs += usize::from(!found.starts_with('!'));
        values += usize::from(!found.starts_with(['!', '?']));
    }
    assert!(programs > 300 && values > 100, "{programs} {values}");
}

#[test]
fn values_that_are_given_are_made_when_they_are_asked_for() {
    struct Variables;
    impl<'a> Fields<'a> for Variables {
        fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
            match name {
                "replicas" => Some(Ok(Value::Int(3))),
                "broken" => Some(Err(EvalError::NoSuchOverload)),
                _ => None,
            }
        }
    }
    struct Asked;
    impl Authorize for Asked {
        fn decide(&self, attributes: &Attributes) -> Decision {
            let allowed = attributes.resource == "pods" && attributes.verb == "get" && attributes.namespace == "a";
            Decision {
                allowed,
                ..Decision::default()
            }
        }
    }
    let env = Env::new()
        .variable("variables", Type::Dyn)
        .variable("authorizer", Type::authorizer())
        .variable("authorizer.requestResource", Type::check());
    let attributes = Attributes {
        resource: "pods".into(),
        namespace: "a".into(),
        ..Attributes::default()
    };
    let ask: Arc<dyn Authorize> = Arc::new(Asked);
    let variables = [
        ("variables", Value::given(Rc::new(Variables))),
        ("authorizer", authorizer(ask.clone())),
        ("authorizer.requestResource", resource(ask, attributes)),
    ];
    for source in [
        "variables.replicas == 3 && has(variables.replicas) && !has(variables.other)",
        "authorizer.group('').resource('pods').namespace('a').check('get').allowed()",
        "!authorizer.group('').resource('pods').namespace('b').check('get').allowed()",
        "authorizer.requestResource.check('get').allowed()",
    ] {
        let program = env
            .compile(source)
            .unwrap_or_else(|issues| panic!("{source}: {issues}"));
        let outcome = program.evaluate(&variables, PER_CALL_LIMIT);
        assert_eq!(outcome.value.unwrap().as_bool(), Some(true), "{source}");
    }
    let broken = env.compile("variables.broken == 1").unwrap();
    assert_eq!(
        broken.evaluate(&variables, PER_CALL_LIMIT).value.unwrap_err(),
        EvalError::NoSuchOverload
    );
}
