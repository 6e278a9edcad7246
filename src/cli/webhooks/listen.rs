//! `openclaw-server webhooks listen`: a receiver to try things out with.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle, http::StatusCode, web};
use clap::Args;
use openclaw_actors::{outbox::EventPattern, webhook::SigningSecret};

use super::{
    forward::{Forward, ForwardUrl},
    receiver::{self, Answer, Receiver},
    registered::Registered,
    shown::Screen,
};
use crate::cli::{
    Outcome,
    remote::{Remote, ServerUrl},
    serve::{INTERRUPTED, Signals},
};

/// Receive signed events, verify and show them
///
/// With --url and --key a webhook to this receiver is made on that server, and deleted at the end; else the secret of
/// one that is there already is asked for. What is not signed with it is refused. Events go to standard output, all
/// else to standard error.
#[derive(Debug, Args)]
pub(super) struct Listen {
    /// Listen on this address [default: 127.0.0.1:9000, or a free port if that is taken]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The secret of the webhook that sends here: whsec_…
    #[arg(long, env = "OPENCLAW_WEBHOOK_SECRET", hide_env_values = true, conflicts_with_all = ["url", "key"])]
    secret: Option<SigningSecret>,
    /// Make a webhook on this server, and delete it at the end
    #[arg(long, value_name = "URL", requires = "key")]
    url: Option<ServerUrl>,
    /// A key of that server with webhooks:write
    #[arg(long, value_name = "KEY", env = "OPENCLAW_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Where that server finds this receiver, if it is not on this machine: https://tunnel.example.com/
    #[arg(long, value_name = "URL", requires = "url")]
    reachable_at: Option<String>,
    /// Of these types, with commas between: message.*,conversation.completed [default: all]
    #[arg(long, value_delimiter = ',', value_name = "EVENTS", requires = "url")]
    events: Vec<EventPattern>,
    /// Pass what is verified on to this address, and its answer back
    #[arg(long, value_name = "URL")]
    forward: Option<ForwardUrl>,
    /// Wait that long before answering
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    delay: u64,
    /// Answer with this status, as a receiver that fails
    #[arg(long, value_name = "STATUS", conflicts_with = "forward", value_parser = status)]
    fail: Option<StatusCode>,
    /// Answer 410, as a receiver that is gone for good: the server disables the webhook
    #[arg(long, conflicts_with_all = ["fail", "forward"])]
    gone: bool,
    /// Print JSON, a line for each event
    #[arg(long)]
    json: bool,
}

/// Until the server has made the webhook, which includes looking at this address.
const ANSWERED_WITHIN: Duration = Duration::from_secs(15);

/// Where to listen when nobody says: the address that `demo` names.
const USUAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9_000);

fn status(text: &str) -> Result<StatusCode, String> {
    let status = text.parse::<u16>().ok().and_then(|number| StatusCode::from_u16(number).ok());
    status.filter(|status| status.as_u16() >= 200).ok_or_else(|| "it must be from 200 to 999".to_owned())
}

impl Listen {
    pub(super) fn run(self) -> Outcome {
        actix::System::new().block_on(self.listen())
    }

    async fn listen(self) -> Outcome {
        let mut signals = Signals::listen()?;
        let listener = self.bind()?;
        let address = listener.local_addr()?;
        let screen = Screen::new(self.json);
        screen.note(&format!("listening on http://{address}/"))?;
        let (registered, secret) = self.secret(address, &screen).await?;
        let answer = match (self.gone, self.fail, self.forward) {
            (true, _, _) => Answer::Always(StatusCode::GONE),
            (_, Some(status), _) => Answer::Always(status),
            (_, _, Some(url)) => {
                screen.note(&format!("what is verified is passed on to {url}"))?;
                Answer::From(Forward::new(url)?)
            }
            _ => Answer::Always(StatusCode::OK),
        };
        let receiver = Receiver::new(secret, answer, Duration::from_millis(self.delay), screen);
        let server = serve(listener, receiver)?;
        screen.note("Ctrl-C ends it")?;
        signals.any().await;
        let end = async {
            // At once: what is being answered is sent again by whoever sent it.
            server.stop(false).await;
            match registered {
                Some(registered) => registered.delete(&screen).await,
                None => Ok(ExitCode::SUCCESS),
            }
        };
        tokio::select! {
            code = end => code,
            // Asked twice.
            () = signals.any() => std::process::exit(INTERRUPTED),
        }
    }

    fn bind(&self) -> io::Result<TcpListener> {
        match self.listen {
            Some(address) => TcpListener::bind(address).map_err(|error| {
                io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
            }),
            None => TcpListener::bind(USUAL).or_else(|_| TcpListener::bind(SocketAddr::new(USUAL.ip(), 0))),
        }
    }

    /// The secret, and the webhook if one was made for it.
    async fn secret(
        &self,
        address: SocketAddr,
        screen: &Screen,
    ) -> Result<(Option<Registered>, SigningSecret), Box<dyn std::error::Error + Send + Sync>> {
        if let (Some(url), Some(key)) = (&self.url, &self.key) {
            let here =
                self.reachable_at.clone().unwrap_or_else(|| format!("http://{}/", on_this_machine(address)));
            let remote = Remote::new(url.clone(), key.clone(), ANSWERED_WITHIN)?;
            let (registered, secret) = Registered::make(remote, &here, &self.events).await?;
            screen.note(&format!("{url} sends to {here} by the webhook {}", registered.id()))?;
            return Ok((Some(registered), secret));
        }
        match &self.secret {
            Some(secret) => Ok((None, secret.clone())),
            None => Ok((None, ask()?)),
        }
    }
}

/// As somebody on this machine finds it: every address is none.
fn on_this_machine(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() { SocketAddr::new(USUAL.ip(), address.port()) } else { address }
}

/// Reads the secret from the terminal, or the first line of whatever stands in for it.
fn ask() -> Result<SigningSecret, Box<dyn std::error::Error + Send + Sync>> {
    if io::stdin().is_terminal() {
        let mut err = io::stderr();
        write!(err, "the webhook's secret (whsec_…)> ")?;
        err.flush()?;
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    match line.trim() {
        "" => {
            Err("say whose events these are: --secret whsec_…, or --url and --key to make a webhook".into())
        }
        text => Ok(text.parse()?),
    }
}

fn serve(listener: TcpListener, receiver: Receiver) -> io::Result<ServerHandle> {
    let receiver = web::Data::new(receiver);
    let app = move || {
        App::new()
            .app_data(receiver.clone())
            .app_data(web::PayloadConfig::new(receiver::LONGEST_BODY))
            .default_service(web::to(receiver::receive))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run();
    let handle = server.handle();
    actix::spawn(server);
    Ok(handle)
}
