//! Who a program is executed as is who was asked for, with no more rights than that (CVE-2026-30892, CVE-2022-27650,
//! CVE-2022-29162).

use serde_json::json;

use crate::bundle::Hostile;
use crate::escaped;

pub fn attack() {
    let hostile = Hostile::new("users", &["sleep", "1000"], |document| {
        document["process"]["user"] = json!({ "uid": 0, "gid": 0, "additionalGids": [5, 6] });
    });
    let bundle = &hostile.bundle;
    bundle.good(&["run", "--detach", "--bundle", bundle.path(), &bundle.id]);
    let exec = |options: &[&str]| {
        let output = bundle.command(&[&["exec"], options, &[&bundle.id, "/attacker", "identity"]].concat());
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (user, uid, gid) in [
        ("0", 0, 0),
        ("1", 1, 0),
        ("1:2", 1, 2),
        ("4294967294", 4_294_967_294_u32, 0),
        ("2:1", 2, 1),
    ] {
        let said = exec(&["--user", user]);
        let is = |name: &str, id: u32| said.contains(&format!("{name}:\t{id}\t{id}\t{id}\t{id}\n"));
        if !is("Uid", uid) || !is("Gid", gid) {
            escaped!("--user {user}: {said}");
        }
        // The groups of somebody else are not taken over.
        assert!(said.contains("Groups:\t\n") || said.contains("Groups:\t \n"), "{said}");
    }
    // To the kernel it means "as it was".
    for user in [
        "4294967295",
        "0:4294967295",
        "-1",
        "4294967296",
        "1x",
        "",
        "1:",
        ":1",
        " 1",
        "root",
    ] {
        let said = exec(&["--user", user]);
        if said.contains("Uid:") {
            escaped!("--user {user:?}: {said}");
        }
    }
    for (options, effective) in [
        (&["--cap", "CAP_NET_ADMIN"][..], true),
        (&["--cap", "CAP_NET_ADMIN", "--user", "1000"][..], false),
    ] {
        let said = exec(options);
        let set = |name: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(line.unwrap_or_else(|| panic!("{said}")).trim(), 16).unwrap()
        };
        if set("CapInh:") != 0 || set("CapAmb:") != 0 {
            escaped!("{options:?}: {said}");
        }
        assert_eq!(set("CapEff:") & 1 << 12 != 0, effective, "{options:?}: {said}");
    }
    bundle.good(&["kill", &bundle.id, "KILL"]);
    the_first_process();
}

fn the_first_process() {
    for (field, value) in [
        ("uid", json!(u32::MAX)),
        ("gid", json!(u32::MAX)),
        ("additionalGids", json!([5, u32::MAX])),
    ] {
        let hostile = Hostile::new("first-user", &["identity"], |document| {
            document["process"]["user"][field] = value
        });
        let said = hostile.bundle.said();
        if said.contains("Uid:") {
            escaped!("the {field} -1: {said}");
        }
        assert!(said.contains("4294967295"), "{said}");
    }
}
