use super::*;
use crate::status::Report;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream as Client};

/// A server at a port of its own, and a driver that answers `times` questions.
struct Served {
    at: SocketAddr,
    exporter: Exporter,
    asked: mpsc::Receiver<PendingRequest>,
}

fn free() -> SocketAddr {
    let any = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    any.local_addr().unwrap()
}

fn serve() -> Served {
    let (tell, asked) = mpsc::channel(1);
    let (at, mut exporter) = (free(), Exporter::new(tell));
    exporter.listen(Some(at));
    assert_eq!(fault(&mut exporter), None);
    Served {
        at,
        exporter,
        asked,
    }
}

/// What is said next.
fn fault(exporter: &mut Exporter) -> Option<String> {
    exporter.faults.blocking_recv().unwrap()
}

/// The whole answer to what is sent.
fn answer(at: SocketAddr, sent: &[u8]) -> String {
    let mut client = Client::connect(at).unwrap();
    client.write_all(sent).unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    text
}

const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: lb0\r\n\r\n";

#[test]
fn the_driver_is_asked_once_a_second_however_many_ask() {
    let Served {
        at,
        exporter: _kept,
        mut asked,
    } = serve();
    let clients: Vec<_> = (0..20)
        .map(|_| std::thread::spawn(move || answer(at, GET)))
        .collect();
    let question = asked.blocking_recv().unwrap();
    assert_eq!(question.request, Request::STATUS);
    let report = Report::default();
    question.reply.send(Reply::Status(report)).unwrap();
    for client in clients {
        let text = client.join().unwrap();
        assert!(text.starts_with("HTTP/1.0 200 OK\r\n"), "{text}");
        assert!(text.contains("\nonehold_up 1\n"), "{text}");
    }
    assert!(asked.try_recv().is_err(), "it was asked once");
}

#[test]
fn a_driver_that_does_not_answer_gives_no_page() {
    let Served {
        at,
        exporter: _kept,
        asked,
    } = serve();
    drop(asked);
    let text = answer(at, GET);
    assert!(text.starts_with("HTTP/1.0 503 "), "{text}");
}

#[test]
fn whatever_else_is_sent_is_refused_and_costs_the_driver_nothing() {
    let Served {
        at,
        exporter: _kept,
        mut asked,
    } = serve();
    let long = [b"GET /metrics HTTP/1.1\r\nA: ".to_vec(), vec![b'a'; 9_000]].concat();
    for (sent, said) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "404 Not Found"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", "405 Method"),
        (b"\r\n\r\n", "405 Method"),
        (b"\xff\xfe\n\n", "405 Method"),
        (&long, "400 Bad Request"),
    ] {
        let text = answer(at, sent);
        assert!(text.starts_with(&format!("HTTP/1.0 {said}")), "{text}");
    }
    assert!(asked.try_recv().is_err());
}

#[test]
fn clients_that_say_nothing_keep_nobody_from_the_page_for_long() {
    let Served {
        at,
        exporter: _kept,
        mut asked,
    } = serve();
    let idle: Vec<Client> = (0..MAX_CLIENTS)
        .map(|_| Client::connect(at).unwrap())
        .collect();
    let one = std::thread::spawn(move || answer(at, GET));
    let question = asked.blocking_recv().unwrap();
    question
        .reply
        .send(Reply::Status(Report::default()))
        .unwrap();
    assert!(one.join().unwrap().contains("onehold_up 1"));
    drop(idle);
}

#[test]
fn where_it_listens_can_change_and_a_port_that_is_taken_is_said() {
    let Served {
        at, mut exporter, ..
    } = serve();
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    exporter.listen(Some(taken.local_addr().unwrap()));
    let said = fault(&mut exporter).unwrap();
    assert!(said.starts_with("metrics.listen: 127.0.0.1:"), "{said}");
    assert!(Client::connect(at).is_err(), "it has left the former");
    exporter.listen(None);
    assert_eq!(fault(&mut exporter), None);
    exporter.listen(Some(at));
    assert_eq!(fault(&mut exporter), None);
    assert!(Client::connect(at).is_ok());
}
