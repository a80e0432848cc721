//! The datastore `kubernetes` on a real kube-apiserver, which takes minutes to build: tests/apiserver.sh runs these tests.

mod installs;
mod kinds;
mod lab;
mod networks;
mod objects;
mod registry;
mod rights;
mod tokens;
mod tool;
mod verbs;
