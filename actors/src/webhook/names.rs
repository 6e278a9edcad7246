//! What the names of endpoints stand for: as this machine says, or as nameservers of the operator's choice do.
//!
//! Nothing is remembered here: whoever resolves looks at every address that comes, each time anew.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join;
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, RCODE, TYPE, rdata::RData};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// A nameserver that takes longer is asked again, or another is: well inside the five seconds of an attempt.
const ANSWERS_WITHIN: Duration = Duration::from_millis(1_500);

/// How often all of them are asked, because a datagram may be lost.
const ROUNDS: usize = 2;

/// The longest datagram that a server sends which was told of no more; a longer answer is asked for over TCP.
const LONGEST_DATAGRAM: usize = 512;

/// Addresses of a name that are looked at: nobody tries more within an attempt.
const MOST_ADDRESSES: usize = 16;

/// Who is asked. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Names(Arc<[SocketAddr]>);

impl Names {
    /// As those nameservers say, in turn until one answers; as this machine does where there are none.
    pub(super) fn as_known_to(nameservers: &[SocketAddr]) -> Self {
        Self(nameservers.into())
    }

    /// The addresses of a host.
    ///
    /// # Errors
    /// It has none, or nobody could say.
    pub(super) async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if self.0.is_empty() {
            return Ok(tokio::net::lookup_host((host, port)).await?.take(MOST_ADDRESSES).collect());
        }
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for server in self.0.iter().cycle().take(self.0.len() * ROUNDS) {
            match addresses(*server, host).await {
                Ok(found) => return Ok(found.into_iter().map(|ip| SocketAddr::new(ip, port)).collect()),
                // That is an answer: another server would only say it again.
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// All addresses of a host as one server knows them: IPv4 first, which every machine can connect to.
async fn addresses(server: SocketAddr, host: &str) -> io::Result<Vec<IpAddr>> {
    let (four, six) = join(ask(server, host, TYPE::A), ask(server, host, TYPE::AAAA)).await;
    let found = match (four, six) {
        (Err(error), Err(_)) => return Err(error),
        (four, six) => [four.unwrap_or_default(), six.unwrap_or_default()].concat(),
    };
    match found.is_empty() {
        true => Err(io::ErrorKind::NotFound.into()),
        false => Ok(found),
    }
}

/// The addresses of one kind. None is no error: the host may have some of the other kind.
async fn ask(server: SocketAddr, host: &str, kind: TYPE) -> io::Result<Vec<IpAddr>> {
    // Guessed neither with the port, which the system draws: a forged answer must hit both.
    let id = getrandom::u32().map_err(|_| io::Error::other("no randomness"))? as u16;
    let query = query(id, host, kind)?;
    let answered = async {
        let answer = over_udp(server, &query, id).await?;
        match read(&answer, &query)? {
            Some(found) => Ok(found),
            None => Ok(read(&over_tcp(server, &query).await?, &query)?.unwrap_or_default()),
        }
    };
    timeout(ANSWERS_WITHIN, answered).await?
}

fn invalid<E>(_: E) -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn query(id: u16, host: &str, kind: TYPE) -> io::Result<Vec<u8>> {
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    // Names are whole: no search domain of this machine is put behind them.
    let name = Name::new(host.trim_end_matches('.')).map_err(invalid)?;
    query.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
    query.build_bytes_vec().map_err(invalid)
}

async fn over_udp(server: SocketAddr, query: &[u8], id: u16) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    // From then on nobody else's datagrams arrive.
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut answer = vec![0; LONGEST_DATAGRAM];
    loop {
        let length = socket.recv(&mut answer).await?;
        if answer[..length].starts_with(&id.to_be_bytes()) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(query.len()).map_err(invalid)?;
    stream.write_all(&[&length.to_be_bytes(), query].concat()).await?;
    let mut answer = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// The addresses that an answer holds, of the host or of what it is an alias of. `None`: it was cut off.
fn read(answer: &[u8], query: &[u8]) -> io::Result<Option<Vec<IpAddr>>> {
    let (answer, query) = (Packet::parse(answer).map_err(invalid)?, Packet::parse(query).map_err(invalid)?);
    let is_answer = answer.has_flags(PacketFlag::RESPONSE) && answer.id() == query.id();
    let same = |(a, b): (&Question<'_>, &Question<'_>)| {
        a.qtype == b.qtype && a.qname.to_string().eq_ignore_ascii_case(&b.qname.to_string())
    };
    let is_asked = answer.questions.len() == 1 && answer.questions.iter().zip(&query.questions).all(same);
    if !is_answer || !is_asked {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if answer.has_flags(PacketFlag::TRUNCATION) {
        return Ok(None);
    }
    match answer.rcode() {
        RCODE::NoError | RCODE::NameError => {}
        _ => return Err(io::Error::other("the nameserver failed")),
    }
    let found = answer.answers.iter().filter_map(|record| match &record.rdata {
        RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from(a.address))),
        RData::AAAA(aaaa) => Some(IpAddr::V6(Ipv6Addr::from(aaaa.address))),
        _ => None,
    });
    Ok(Some(found.take(MOST_ADDRESSES).collect()))
}
