//! The powers that the role of the deployment leaves to each certificate: docs/OPERATIONS.md, "Who can do what", says the
//! same. A new refusal of etcd is to be told there.

use etcd_client::{
    AlarmAction, AlarmType, Certificate, Client, ConnectOptions, Identity, TlsOptions,
};

use super::role::{Etcd, assert_well, certified, text};
use crate::support::run;

/// A certificate that can do everything, for what the others are to find.
const ROOT: &str = "root";

/// The certificates of a node, of the page, and of the authority without a user.
const USERS: [&str; 3] = ["client", "read", "server"];

fn line(words: &str) -> Vec<&str> {
    words.split(' ').collect()
}

/// That `words`, for etcd's own client, is allowed for these of [`USERS`] and denied for the others.
#[track_caller]
fn check(etcd: &Etcd, words: &str, allowed: [bool; 3]) {
    for (user, allowed) in USERS.into_iter().zip(allowed) {
        let output = etcd.ctl(user, &line(words));
        assert_eq!(
            output.status.success(),
            allowed,
            "{user}: {words}: {output:?}"
        );
        let said = text(&output.stderr);
        let denied = ["permission denied", "user name not found", "user not found"];
        let denied = denied.into_iter().any(|reason| said.contains(reason));
        assert!(allowed || denied, "{user}: {words}: {said}");
    }
}

/// The last word of etcd's answer to root.
fn word(etcd: &Etcd, words: &str, place: usize) -> String {
    let output = etcd.ctl(ROOT, &line(words));
    assert_well(&output);
    let said = text(&output.stdout);
    let word = said.split(' ').nth(place).expect("so many words");
    word.trim_end_matches([',', '\n']).to_owned()
}

fn lease(etcd: &Etcd) -> String {
    word(etcd, "lease grant 3000", 1)
}

#[test]
fn a_role_limits_keys_and_not_the_rest_of_etcd() {
    let folder = certified();
    let etcd = Etcd::new(folder.path());
    assert_well(&etcd.role(ROOT, &[]));
    assert_well(&etcd.ctl(ROOT, &["put", "/theirs", "x"]));
    let nobody = [false; 3];
    let everybody = [true; 3];

    check(&etcd, "get /whereabouts/v1/x", [true, true, false]);
    check(&etcd, "put /whereabouts/v1/x y", [true, false, false]);
    check(&etcd, "del /whereabouts/v1/x", [true, false, false]);
    for words in [
        "get /theirs",
        "put /theirs x",
        "del /theirs",
        "watch /theirs",
        "get --from-key /",
        "user list",
        "user add they --no-password",
        "user grant-role whereabouts root",
        "role list",
        "role get root",
        "auth disable",
        "member add they --peer-urls=http://127.0.0.1:1",
        "defrag",
        "snapshot save /dev/null",
        "endpoint hashkv",
    ] {
        check(&etcd, words, nobody);
    }
    check(&etcd, "user get whereabouts", [true, false, false]);
    check(&etcd, "role get whereabouts", [true, false, false]);

    let leader = word(&etcd, "member list", 0);
    for words in [
        "alarm list",
        "alarm disarm",
        "member list",
        "endpoint status",
        "lease grant 3000",
        "lease list",
        &format!("move-leader {leader}"),
    ] {
        check(&etcd, words, everybody);
    }
    let theirs = lease(&etcd);
    assert_well(&etcd.ctl(ROOT, &["put", "/theirs", "x", "--lease", &theirs]));
    check(
        &etcd,
        &format!("lease keep-alive --once {theirs}"),
        everybody,
    );
    check(
        &etcd,
        &format!("lease timetolive --keys {theirs}"),
        everybody,
    );
    check(
        &etcd,
        &format!("put /whereabouts/v1/x y --lease {theirs}"),
        nobody,
    );
    check(&etcd, &format!("lease revoke {theirs}"), nobody);
    for user in USERS {
        let empty = lease(&etcd);
        assert_well(&etcd.ctl(user, &["lease", "revoke", &empty]));
    }
    for user in USERS {
        assert_well(&etcd.ctl(ROOT, &["put", "/theirs", "y"]));
        let revision = text(&etcd.ctl(ROOT, &line("get /theirs -w fields")).stdout);
        let revision = revision
            .lines()
            .find_map(|line| line.strip_prefix("\"Revision\" : "));
        let revision = revision.expect("an answer has a revision");
        assert_well(&etcd.ctl(user, &["compact", revision]));
    }
}

#[test]
fn every_certificate_of_the_authority_can_raise_an_alarm_that_ends_all_writes() {
    let folder = certified();
    let etcd = Etcd::new(folder.path());
    assert_well(&etcd.role(ROOT, &[]));
    for user in USERS {
        let read = |name: &str| std::fs::read(folder.path().join(name)).expect("it is there");
        let identity =
            Identity::from_pem(read(&format!("{user}.crt")), read(&format!("{user}.key")));
        let tls = TlsOptions::new()
            .ca_certificate(Certificate::from_pem(read("ca.crt")))
            .identity(identity);
        let options = ConnectOptions::new().with_tls(tls);
        run(async {
            let client = Client::connect([&etcd.url], Some(options)).await;
            let mut client = client.expect("etcd answers");
            client
                .alarm(AlarmAction::Activate, AlarmType::Nospace, None)
                .await
                .expect("it is allowed");
        });
        let refused = etcd.ctl(ROOT, &["put", "/theirs", "x"]);
        assert!(
            text(&refused.stderr).contains("database space exceeded"),
            "{refused:?}"
        );
        assert_well(&etcd.ctl(user, &["alarm", "disarm"]));
        assert_well(&etcd.ctl(ROOT, &["put", "/theirs", "x"]));
    }
}
