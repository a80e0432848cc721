//! Bytes that the proxies let pass, hold or cut, as both ends of a connection see them.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use super::*;

const CLIENTS: Party = Party::Clients;
const MEMBER: Party = Party::Member(0);

/// Longest time that anything may take.
const BOUND: Duration = Duration::from_secs(20);

/// Long enough that what is not held has arrived.
const MOMENT: Duration = Duration::from_millis(100);

/// A client's connection through a proxy, and the server's end of it.
fn connect(links: &Links) -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let target = listener.local_addr().expect("it is bound");
    let proxy = Proxy::for_clients(links, MEMBER, target).expect("a proxy starts");
    let client = TcpStream::connect(proxy.address()).expect("a proxy listens");
    let (server, _) = listener.accept().expect("the proxy connects");
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(BOUND)).expect("not zero");
    }
    (proxy, client, server)
}

fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).expect("it is connected");
}

fn receive(stream: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    stream.read_exact(&mut bytes).expect("it arrives");
    assert_eq!(String::from_utf8_lossy(&bytes), text);
}

fn receive_nothing_for_a_moment(stream: &mut TcpStream) {
    stream.set_read_timeout(Some(MOMENT)).expect("not zero");
    let error = stream.read(&mut [0]).expect_err("nothing arrives");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
    stream.set_read_timeout(Some(BOUND)).expect("not zero");
}

fn receive_reset(stream: &mut TcpStream) {
    let error = stream.read(&mut [0]).expect_err("no more arrives");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn bytes_pass_both_ways_and_so_does_the_end() {
    let (_proxy, mut client, mut server) = connect(&Links::default());
    send(&mut client, "question");
    receive(&mut server, "question");
    send(&mut server, "answer");
    client.shutdown(std::net::Shutdown::Write).expect("open");
    assert_eq!(server.read(&mut [0]).expect("it is told"), 0);
    receive(&mut client, "answer");
}

#[test]
fn a_cut_holds_one_way_until_it_is_healed() {
    let links = Links::default();
    let (_proxy, mut client, mut server) = connect(&links);
    links.set(CLIENTS, MEMBER, Link::with(Passage::Held));
    send(&mut client, "late");
    receive_nothing_for_a_moment(&mut server);
    send(&mut server, "other way");
    receive(&mut client, "other way");
    links.heal();
    receive(&mut server, "late");
}

#[test]
fn a_delay_is_each_byte_s_and_not_each_message_s() {
    let links = Links::default();
    let (_proxy, mut client, mut server) = connect(&links);
    let delay = Duration::from_millis(50);
    links.set(CLIENTS, MEMBER, Link::delayed(delay));
    let start = Instant::now();
    for _ in 0..20 {
        send(&mut client, "x");
        // Each of them is a message of its own.
        std::thread::yield_now();
    }
    receive(&mut server, &"x".repeat(20));
    let took = start.elapsed();
    assert!(took >= delay && took < 20 * delay, "{took:?}");
}

#[test]
fn a_reset_ends_what_is_there_and_what_comes() {
    let links = Links::default();
    let (proxy, mut client, mut server) = connect(&links);
    links.set(MEMBER, CLIENTS, Link::with(Passage::Reset));
    receive_reset(&mut client);
    receive_reset(&mut server);
    // The target is gone by now, which says the same.
    let mut next = TcpStream::connect(proxy.address()).expect("a proxy listens");
    next.set_read_timeout(Some(BOUND)).expect("not zero");
    receive_reset(&mut next);
}

#[test]
fn a_reply_is_cut_in_its_middle() {
    let links = Links::default();
    let (_proxy, mut client, mut server) = connect(&links);
    links.set(MEMBER, CLIENTS, Link::with(Passage::ResetAfter(1)));
    send(&mut server, "whole");
    receive(&mut client, "whole");
    send(&mut server, "half-and-half");
    let mut rest = Vec::new();
    let error = client.read_to_end(&mut rest).expect_err("it is reset");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert!(rest.len() <= "half-a".len(), "{rest:?}");
}

#[test]
fn who_is_not_recognised_is_shut_out() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let target = listener.local_addr().expect("it is bound");
    let nobody: Recognise = Arc::new(|_, _| None);
    let proxy = Proxy::start(&Links::default(), MEMBER, target, nobody).expect("it starts");
    let mut client = TcpStream::connect(proxy.address()).expect("a proxy listens");
    client.set_read_timeout(Some(BOUND)).expect("not zero");
    assert_eq!(client.read(&mut [0]).expect("it is closed"), 0);
}
