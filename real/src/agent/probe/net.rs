//! Looks over the network: `tcp`, `http`, `ping`.

use super::Look;
use crate::config_file::checks::{Authority, Http};
use rustix::rand::{GetRandomFlags, getrandom};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

/// What is read of a page.
const LONGEST_PAGE: usize = 64 * 1024;

async fn connect(at: &Authority) -> Result<TcpStream, String> {
    let to = (at.host.as_str(), at.port);
    let connected = TcpStream::connect(to).await;
    connected.map_err(|e| format!("can't connect to {at}: {e}"))
}

pub(super) async fn tcp(at: &Authority) -> Look {
    connect(at).await.map(|_| format!("{at} accepts"))
}

/// HTTP/1.0, whose answers end with the connection and come in one piece.
pub(super) async fn http(http: &Http) -> Look {
    let mut stream = connect(&http.at).await?;
    let request = format!(
        "GET {} HTTP/1.0\r\nHost: {}\r\nUser-Agent: onehold\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        http.path, http.host
    );
    let broken = |e: io::Error| format!("{}: {e}", http.at);
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut page = Vec::new();
    let mut buffer = [0; 4096];
    while page.len() < LONGEST_PAGE {
        match stream.read(&mut buffer).await.map_err(broken)? {
            0 => break,
            n => page.extend_from_slice(buffer.get(..n).unwrap_or(&[])),
        }
        // Nothing more is asked of the page than its first line.
        if http.expect.is_none() && page.contains(&b'\n') {
            break;
        }
    }
    let (status, words) =
        status_of(&page).ok_or_else(|| format!("{} does not answer by HTTP", http.at))?;
    let fine = match http.status {
        Some(wanted) => status == wanted,
        None => (200..400).contains(&status),
    };
    if !fine {
        return Err(words);
    }
    match &http.expect {
        Some(expect) if !has(body_of(&page), expect.as_bytes()) => {
            Err(format!("{words}, and the page has no `{expect}`"))
        }
        _ => Ok(words),
    }
}

/// `HTTP/1.1 200 OK` → 200, `200 OK`.
fn status_of(page: &[u8]) -> Option<(u16, String)> {
    let line = page.split(|b| *b == b'\n').next()?;
    let line = String::from_utf8_lossy(line.get(..line.len().min(200))?);
    let (version, rest) = line.trim_end().split_once(' ')?;
    let status = rest.get(..3)?.parse().ok()?;
    (version.starts_with("HTTP/1.")).then(|| (status, rest.to_owned()))
}

fn body_of(page: &[u8]) -> &[u8] {
    let end = page.windows(4).position(|w| w == b"\r\n\r\n");
    end.and_then(|at| page.get(at + 4..)).unwrap_or(&[])
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

/// One echo request, and its reply.
pub(super) async fn ping(to: IpAddr) -> Look {
    let mut token = [0; 16];
    let _ = getrandom(&mut token, GetRandomFlags::empty()); // another's reply is not taken for ours, at best
    let failed = |what: &str, e: io::Error| format!("{to}: {what}: {e}");
    let socket = icmp(to).map_err(|e| failed("no socket for ICMP", e))?;
    let request = echo(to, &token);
    socket
        .send(&request)
        .await
        .map_err(|e| failed("can't be asked", e))?;
    let mut buffer = [0; 512];
    loop {
        let n = (socket.recv(&mut buffer).await).map_err(|e| failed("no answer", e))?;
        if is_reply(to, buffer.get(..n).unwrap_or(&[]), &token) {
            return Ok(format!("{to} answers"));
        }
    }
}

/// A socket for echo requests: one that needs no privilege, or else a raw one.
fn icmp(to: IpAddr) -> io::Result<UdpSocket> {
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(protocol))
        .or_else(|_| Socket::new(domain, Type::RAW, Some(protocol)))?;
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::new(to, 0).into())?;
    UdpSocket::from_std(socket.into())
}

fn echo(to: IpAddr, token: &[u8; 16]) -> Vec<u8> {
    let kind = if to.is_ipv4() { 8 } else { 128 };
    let mut request = vec![kind, 0, 0, 0, 0, 0, 0, 1];
    request.extend_from_slice(token);
    if to.is_ipv4() {
        // The kernel does it for IPv6.
        let sum = checksum(&request).to_be_bytes();
        request.splice(2..4, sum);
    }
    request
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match *pair {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// A raw IPv4 socket shows the IP header as well.
fn is_reply(to: IpAddr, packet: &[u8], token: &[u8; 16]) -> bool {
    let header = match packet.first() {
        Some(first) if to.is_ipv4() && first >> 4 == 4 => usize::from(first & 15) * 4,
        _ => 0,
    };
    let reply = if to.is_ipv4() { 0 } else { 129 };
    let message = packet.get(header..).unwrap_or(&[]);
    message.first() == Some(&reply) && message.get(8..24) == Some(token.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_and_packets_are_read_as_they_come() {
        let page = b"HTTP/1.1 502 Bad Gateway\r\nServer: x\r\n\r\n<h1>sorry</h1>";
        assert_eq!(status_of(page), Some((502, "502 Bad Gateway".to_owned())));
        assert!(has(body_of(page), b"sorry") && !has(body_of(page), b"Server"));
        for bad in [
            &b""[..],
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1\r\n",
            b"HTTP/1.1 2x0\r\n",
            b"\xff\xfe",
        ] {
            assert_eq!(status_of(bad), None);
        }
        assert_eq!(body_of(b"HTTP/1.0 200 OK\r\n"), b"");

        let to = IpAddr::from([127, 0, 0, 1]);
        let token = [7; 16];
        let request = echo(to, &token);
        assert_eq!(
            checksum(&request),
            0,
            "a packet with its sum sums up to nothing"
        );
        assert!(!is_reply(to, &request, &token));
        let mut reply = request;
        reply[0] = 0;
        assert!(is_reply(to, &reply, &token));
        assert!(!is_reply(to, &reply, &[8; 16]));
        let raw = [&[0x45; 20][..], &reply].concat();
        assert!(is_reply(to, &raw, &token));
        assert!(!is_reply(to, &raw[..30], &token));
    }
}
