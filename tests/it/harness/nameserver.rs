//! A nameserver under the test's control: it may say something else each time.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use simple_dns::{
    CLASS, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE,
    rdata::{A, AAAA, RData},
};

/// What is said of a name: `None` that there is no such name.
type Script = Box<dyn Fn(&str, usize) -> Option<Vec<IpAddr>> + Send>;

/// See the module. Ends with the process.
pub(crate) struct Nameserver {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Script>,
    /// Questions for IPv4 addresses so far.
    asked: AtomicUsize,
    over_tcp: AtomicUsize,
    /// Whether datagrams are too small for the answers.
    only_tcp: bool,
}

impl Nameserver {
    /// Answers what `script` makes of the name and of how often anything was asked before.
    pub(crate) fn by(script: impl Fn(&str, usize) -> Option<Vec<IpAddr>> + Send + 'static) -> Self {
        Self::start(script, false)
    }

    /// The same, with answers that are only given over TCP.
    pub(crate) fn by_tcp(script: impl Fn(&str, usize) -> Option<Vec<IpAddr>> + Send + 'static) -> Self {
        Self::start(script, true)
    }

    fn start(script: impl Fn(&str, usize) -> Option<Vec<IpAddr>> + Send + 'static, only_tcp: bool) -> Self {
        // Both at one port.
        let (udp, tcp) = std::iter::repeat_with(|| {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let tcp = TcpListener::bind(udp.local_addr().unwrap());
            tcp.map(|tcp| (udp, tcp))
        })
        .find_map(Result::ok)
        .unwrap();
        let address = udp.local_addr().unwrap();
        let (script, asked, over_tcp) = (Mutex::new(Box::new(script) as Script), 0.into(), 0.into());
        let shared = Arc::new(Shared { script, asked, over_tcp, only_tcp });
        let (by_udp, by_tcp) = (Arc::clone(&shared), Arc::clone(&shared));
        thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut query) {
                udp.send_to(&by_udp.answer(&query[..length], by_udp.only_tcp), from).unwrap();
            }
        });
        thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let mut length = [0; 2];
                stream.read_exact(&mut length).unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(length))];
                stream.read_exact(&mut query).unwrap();
                by_tcp.over_tcp.fetch_add(1, Ordering::SeqCst);
                let answer = by_tcp.answer(&query, false);
                let length = u16::try_from(answer.len()).unwrap().to_be_bytes();
                stream.write_all(&[&length[..], &answer].concat()).unwrap();
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// How often it was asked for IPv4 addresses.
    pub(crate) fn times(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// How often anything was asked over TCP.
    pub(crate) fn times_over_tcp(&self) -> usize {
        self.shared.over_tcp.load(Ordering::SeqCst)
    }
}

impl Shared {
    fn answer(&self, query: &[u8], cut_off: bool) -> Vec<u8> {
        let query = Packet::parse(query).unwrap();
        let question = query.questions[0].clone();
        let mut reply = Packet::new_reply(query.id());
        reply.questions.push(question.clone());
        if cut_off {
            reply.set_flags(PacketFlag::TRUNCATION);
            return reply.build_bytes_vec().unwrap();
        }
        let is_a = question.qtype == QTYPE::TYPE(TYPE::A);
        // Both kinds are asked for at once; the first counts.
        let before = if is_a { self.asked.fetch_add(1, Ordering::SeqCst) } else { self.times() };
        let name = question.qname.to_string();
        let Some(found) = (self.script.lock().unwrap())(&name, before) else {
            *reply.rcode_mut() = RCODE::NameError;
            return reply.build_bytes_vec().unwrap();
        };
        reply.answers.extend(found.into_iter().filter(|ip| ip.is_ipv4() == is_a).map(|ip| {
            let data = match ip {
                IpAddr::V4(ip) => RData::A(A::from(ip)),
                IpAddr::V6(ip) => RData::AAAA(AAAA::from(ip)),
            };
            ResourceRecord::new(question.qname.clone(), CLASS::IN, 0, data)
        }));
        reply.build_bytes_vec().unwrap()
    }

    fn times(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}
