//! The access to etcd: users, certificates, and the words of a refusal.

use whereabouts_etcd::{Access, Secret, Tls};
use whereabouts_store::{Store, Unavailable};

use super::{quickly, read, store};
use crate::support::certificates::Certificates;
use crate::support::etcd::{Cluster, PASSWORD, Setup, Transport, Users};
use crate::support::{dead_endpoint, run};

/// Reads with what `change` makes of the right access to a cluster.
fn check(
    transport: Transport,
    users: Users,
    change: impl FnOnce(&mut Access),
) -> Result<(), Unavailable> {
    let cluster = Cluster::with(Setup {
        transport,
        users,
        ..Setup::default()
    });
    let mut access = cluster.access();
    change(&mut access);
    let store = store(&access);
    let result = run(quickly(read(&store))).map(|_| ());
    if let Err(error) = &result {
        let text = format!("{error} {error:?} {store:?}");
        assert!(!text.contains(PASSWORD), "{text}");
        assert!(!text.contains("PRIVATE KEY"), "{text}");
    }
    result
}

fn tls(access: &mut Access) -> &mut Tls {
    access.tls.as_mut().expect("the cluster has TLS")
}

fn login(access: &mut Access, password: &str) {
    access.login = Some(("root".to_owned(), Secret::new(password.to_owned())));
}

#[track_caller]
fn assert_denied(result: Result<(), Unavailable>, reason: &str) {
    match result {
        Err(Unavailable::Denied(text)) => assert!(text.contains(reason), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_ca_alone_is_enough_where_no_client_certificate_is_asked_for() {
    assert_eq!(check(Transport::Tls, Users::Anybody, |_| ()), Ok(()));
}

#[test]
fn a_client_certificate_is_shown() {
    assert_eq!(check(Transport::MutualTls, Users::Anybody, |_| ()), Ok(()));
}

/// By TLS 1.3 the server's refusal may be lost with the connection; it is named all the same.
#[test]
fn a_missing_client_certificate_fails_quickly_and_is_named() {
    let failed = check(Transport::MutualTls, Users::Anybody, |access| {
        tls(access).identity = None;
    });
    match failed {
        Err(Unavailable::Denied(text) | Unavailable::Later(text)) => {
            assert!(text.to_lowercase().contains("certificate"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_ca_is_denied_quickly() {
    let denied = check(Transport::Tls, Users::Anybody, |access| {
        tls(access).ca = Some(Certificates::generate().authority.into_bytes());
    });
    assert_denied(denied, "invalid peer certificate");
}

#[test]
fn without_a_ca_those_of_the_system_count() {
    let denied = check(Transport::Tls, Users::Anybody, |access| {
        tls(access).ca = None;
    });
    assert_denied(denied, "invalid peer certificate");
}

#[test]
fn a_key_that_is_none_is_denied_quickly() {
    let denied = check(Transport::MutualTls, Users::Anybody, |access| {
        let (_, key) = tls(access).identity.as_mut().expect("it is shown");
        *key = Secret::new("garbage".to_owned());
    });
    assert_denied(denied, "key");
}

#[test]
fn a_user_with_a_password_is_let_in() {
    assert_eq!(check(Transport::Plain, Users::Root, |_| ()), Ok(()));
}

#[test]
fn a_user_with_a_password_is_let_in_over_tls() {
    assert_eq!(check(Transport::Tls, Users::Root, |_| ()), Ok(()));
}

#[test]
fn a_wrong_password_is_denied_quickly() {
    let denied = check(Transport::Plain, Users::Root, |access| {
        login(access, "wrong");
    });
    assert_denied(denied, "authentication failed");
}

#[test]
fn a_missing_login_is_denied_quickly() {
    let denied = check(Transport::Plain, Users::Root, |access| access.login = None);
    assert_denied(denied, "user name is empty");
}

#[test]
fn a_login_that_nobody_asks_for_does_no_harm() {
    let read = check(Transport::Plain, Users::Anybody, |access| {
        login(access, PASSWORD);
    });
    assert_eq!(read, Ok(()));
}

#[test]
fn plain_text_to_a_tls_endpoint_fails_quickly() {
    let failed = check(Transport::Tls, Users::Anybody, |access| {
        access.tls = None;
        let url = &mut access.endpoints[0];
        *url = url.replace("https", "http");
    });
    assert!(matches!(failed, Err(Unavailable::Later(_))), "{failed:?}");
}

#[test]
fn tls_to_a_plain_endpoint_fails_quickly() {
    let failed = check(Transport::Plain, Users::Anybody, |access| {
        access.tls = Some(Tls {
            ca: Some(Certificates::generate().authority.into_bytes()),
            identity: None,
        });
        let url = &mut access.endpoints[0];
        *url = url.replace("http", "https");
    });
    assert!(matches!(failed, Err(Unavailable::Later(_))), "{failed:?}");
}

#[test]
fn a_refused_connection_is_for_a_later_try() {
    let url = dead_endpoint();
    let failed = check(Transport::Plain, Users::Anybody, |access| {
        access.endpoints = vec![url.clone()];
    });
    match failed {
        Err(Unavailable::Later(text)) => {
            assert!(text.contains(&url) && text.contains("refused"), "{text}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_login_that_has_expired_is_renewed() {
    let cluster = Cluster::with(Setup {
        users: Users::Root,
        ..Setup::default()
    });
    run(async {
        let store = store(&cluster.access());
        read(&store).await.expect("it logs in");
        // That ends all logins.
        let root = format!("--user=root:{PASSWORD}");
        cluster.etcdctl(&[&root, "auth", "disable"]);
        cluster.etcdctl(&["auth", "enable"]);
        quickly(read(&store)).await.expect("it logs in again");
        quickly(store.watch(&[b"/key".to_vec()]))
            .await
            .expect("it watches");
    });
}
